"""What every store promises. Set TEST_STORE_URI (`s3://bucket`) to hold one of your own to it as well."""

from __future__ import annotations

import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal

OWN = os.environ.get("TEST_STORE_URI")


@pytest.fixture(params=["folder", "memory", "s3", *(["own"] if OWN else [])])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return open_store(f"{request.getfixturevalue('bucket')}/below")
    where = {
        "folder": str(tmp_path / "new" / "folder"),
        "memory": "memory://",
        "own": f"{OWN}/{uuid.uuid4()}",
    }
    return open_store(where[request.param])


def test_what_was_put_comes_back(store: Store) -> None:
    store.put("runs/a b/état.json", b"{}")
    store.put("empty", b"")
    assert store.get("runs/a b/état.json") == b"{}"
    assert store.get("empty") == b""


def test_a_large_value_comes_back_whole(store: Store) -> None:
    size_mib = 64 if str(store).startswith("s3://") else 8
    value = random.Random(0).randbytes(1 << 20) * size_mib
    store.put("large", value)
    assert store.get("large") == value


def test_a_value_never_changes(store: Store) -> None:
    store.put("a", b"first")
    with pytest.raises(AlreadyThere, match="a"):
        store.put("a", b"second")
    assert store.get("a") == b"first"


def test_the_same_value_is_not_put_twice(store: Store) -> None:
    store.put("a", b"same")
    with pytest.raises(AlreadyThere):
        store.put("a", b"same")


def test_of_racing_writers_one_wins(store: Store) -> None:
    def write(writer: int) -> bool:
        try:
            store.put("lease", str(writer).encode())
        except AlreadyThere:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(write, range(16)))
    assert won.count(True) == 1
    assert store.get("lease") == str(won.index(True)).encode()


def test_a_missing_key_is_named(store: Store) -> None:
    with pytest.raises(Missing, match="runs/none"):
        store.get("runs/none")


def test_a_folder_is_no_value(store: Store) -> None:
    store.put("runs/a", b"")
    with pytest.raises(Missing):
        store.get("runs")


def test_keys_are_listed_in_order(store: Store) -> None:
    keys = ["b", "a/2", "a/10", "ab", "a/deep/er"]
    for key in keys:
        store.put(key, b"")
    assert list(store.list()) == sorted(keys)


def test_a_prefix_is_a_folder(store: Store) -> None:
    for key in ["a/1", "ab/1", "a/b/2"]:
        store.put(key, b"")
    assert list(store.list("a")) == ["a/1", "a/b/2"]
    assert list(store.list("none")) == []


def test_what_is_deleted_is_gone_and_may_be_put_again(store: Store) -> None:
    store.put("a/b", b"first")
    store.put("a/c", b"stays")
    store.delete("a/b")
    assert list(store.list()) == ["a/c"]
    with pytest.raises(Missing):
        store.get("a/b")
    store.put("a/b", b"second")
    assert store.get("a/b") == b"second"


def test_to_delete_a_missing_key_is_no_error(store: Store) -> None:
    store.put("runs/a", b"")
    for key in ("none", "none/at all", "runs"):
        store.delete(key)
    assert list(store.list()) == ["runs/a"]


@pytest.mark.parametrize("key", ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", ".", "a\\b", "a\nb"])
def test_a_key_cannot_leave_the_store(store: Store, key: str) -> None:
    with pytest.raises(Refusal, match="no key"):
        store.put(key, b"")
    with pytest.raises(Refusal, match="no key"):
        store.get(key)
    with pytest.raises(Refusal, match="no key"):
        store.delete(key)
