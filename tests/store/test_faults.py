"""Row 6 of the fault matrix: a server that is busy, fails, resets, cuts, dawdles or answers into the void."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError

from jointdistill.store import objects
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.faults.proxy import FAULTS, Proxy
from tests.services.rgw import Rgw

Behind = Callable[..., AbstractContextManager[tuple[Proxy, Store]]]


@pytest.fixture
def behind(rgw: Rgw, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Behind:
    """A proxy before the object storage, and a store that knows only the proxy."""

    @contextmanager
    def start(patience_s: float = 30.0, **how: Any) -> Iterator[tuple[Proxy, Store]]:
        with Proxy(rgw.endpoint, **how) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
            yield proxy, open_store(bucket, patience_s)

    return start


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_invented_under_faults(behind: Behind, seed: int) -> None:
    draw = random.Random(seed)
    values = {f"runs/{n % 7}/{n:02}": draw.randbytes(draw.choice([0, 10, 5_000, 300_000])) for n in range(60)}
    deleted = {key for n, key in enumerate(values) if n % 5 == 0}
    rates = dict.fromkeys(FAULTS, 0.3 / len(FAULTS))
    with behind(rates=rates, seed=seed, slow_s=0.1) as (proxy, store):
        for key, value in values.items():
            store.put(key, value)  # no AlreadyThere: there is no other writer
        assert list(store.list()) == sorted(values)
        for key in deleted:
            store.delete(key)
        assert list(store.list("runs")) == sorted(values.keys() - deleted)
        assert {key: store.get(key) for key in store.list()} == {
            key: value for key, value in values.items() if key not in deleted
        }
        with pytest.raises(Missing):
            store.get(deleted.pop())
        assert all(proxy.met(fault) for fault in FAULTS)


def test_of_racing_writers_one_wins_under_faults(behind: Behind) -> None:
    with behind(rates={"503": 0.1, "reset": 0.1, "lost": 0.2}, seed=1) as (_, store):

        def write(writer: int) -> bool:
            try:
                store.put("lease", f"writer {writer}".encode())
            except AlreadyThere:
                return False
            return True

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(write, range(16)))
        assert won.count(True) == 1
        assert store.get("lease") == f"writer {won.index(True)}".encode()


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_an_own_value_is_known_again_after_a_lost_reply(behind: Behind, size: int) -> None:
    with behind() as (proxy, store):
        proxy.always("lost", times=1)
        store.put("a", b"1" * size)
        assert [fault for method, _, fault in proxy.did if method == "PUT"] == ["lost", "pass"]
        assert store.get("a") == b"1" * size


def test_anothers_value_is_not_taken_for_ones_own(behind: Behind) -> None:
    with behind() as (proxy, store):
        store.put("a", b"theirs")
        proxy.always("lost", times=1)
        with pytest.raises(AlreadyThere):
            store.put("a", b"ours")
        assert store.get("a") == b"theirs"


@pytest.mark.parametrize("fault", ["503", "500", "reset", "cut", "lost"])
def test_a_large_value_survives_each_fault(behind: Behind, fault: str) -> None:
    value = random.Random(fault).randbytes(8 << 20)
    with behind() as (proxy, store):
        proxy.always(fault, times=2)
        store.put("large", value)
        proxy.always(fault, times=2)
        assert store.get("large") == value
        assert proxy.met(fault) == 4


def test_a_cut_upload_leaves_nothing_behind(behind: Behind) -> None:
    with behind(patience_s=1.0) as (proxy, store):
        proxy.always("cut")
        with pytest.raises(Refusal):
            store.put("large", b"1" * (4 << 20))
        proxy.calm()
        assert list(store.list()) == []
        store.put("large", b"2")


@pytest.mark.parametrize("fault", ["503", "reset"])
@pytest.mark.parametrize("verb", ["put", "get", "list", "delete"])
def test_a_store_that_stays_away_is_given_up(behind: Behind, fault: str, verb: str) -> None:
    with behind(patience_s=2.0) as (proxy, store):
        ask: dict[str, Callable[[], object]] = {
            "put": lambda: store.put("a", b""),
            "get": lambda: store.get("a"),
            "list": lambda: list(store.list()),
            "delete": lambda: store.delete("a"),
        }
        proxy.always(fault)
        began = time.monotonic()
        with pytest.raises(Refusal, match=r"^s3://\S+ failed at [^\n]*reached and has room\.$"):
            ask[verb]()
        assert 1.5 < time.monotonic() - began < 6
        assert 3 < len(proxy.did) < 60, "tried again, but not in a storm"


def test_a_store_that_comes_back_is_not_given_up(rgw: Rgw, bucket: str) -> None:
    store = open_store(bucket, patience_s=60)
    store.put("before", b"1")
    rgw.kill()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.put, "during", b"2")
        rgw.start()
        waiting.result(60)
    assert {key: store.get(key) for key in store.list()} == {"before": b"1", "during": b"2"}


def test_what_will_not_pass_fails_at_once(rgw: Rgw, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(store: Store) -> str:
        began = time.monotonic()
        with pytest.raises(Refusal) as first:
            store.put("a", b"")
        assert time.monotonic() - began < 2
        assert "\n" not in str(first.value)
        return str(first.value)

    nowhere = open_store("s3://no-such-bucket")
    assert "NoSuchBucket): make the bucket, or correct the address." in refused(nowhere)
    for ask in (lambda: nowhere.get("a"), lambda: list(nowhere.list()), lambda: nowhere.delete("a")):
        with pytest.raises(Refusal, match=r"make the bucket, or correct the address\.$"):
            ask()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    wrong = open_store(bucket)
    assert "SignatureDoesNotMatch): check the credentials and what they may do." in refused(wrong)
    with pytest.raises(Refusal, match="check the credentials"):
        wrong.list()


def test_a_store_without_create_only_puts_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "disabled")
    with pytest.raises(Refusal, match=r"use a store that takes create-only puts \(If-None-Match\)\.$"):
        open_store(bucket).put("a", b"")


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise GenericError(
            "Unable to copy data to file: No space left on device (os error 28)\n\nDebug source"
        )

    monkeypatch.setattr(obstore, "put", full)
    with pytest.raises(Refusal, match=r"No space left on device \(os error 28\)\): make room\.$"):
        open_store(str(tmp_path)).put("a", b"")


def test_a_server_that_never_answers_is_given_up(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_STALL_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        store = open_store(bucket, patience_s=1.0)
        for ask in (lambda: store.get("a"), lambda: list(store.list()), lambda: store.delete("a")):
            began = time.monotonic()
            with pytest.raises(Refusal, match="can be reached"):
                ask()
            assert time.monotonic() - began < 5


def test_a_slow_line_is_not_taken_for_a_silent_server(
    behind: Behind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_STALL_S", 0.5)
    value = b"1" * (3 << 20)
    with behind(patience_s=0.0, slow_s=2.0) as (proxy, store):
        proxy.always("slow")
        store.put("large", value)
        assert store.get("large") == value
