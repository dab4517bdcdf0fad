"""Replayed records come back whole and to the bit, or not at all."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from jointdistill.recipe import digest
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.trajectory.arrow import Rows
from jointdistill.types import State
from tests.trajectory.replays import FOLDER, replayed, rows, write

IMAGES = 9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def same(found: State, said: Rows) -> bool:
    """Whether these rows were found, in whatever order."""
    tensors, _ = found
    place, wanted = tensors["image"].argsort(), said.image.argsort()
    return torch.equal(tensors["image"][place], said.image[wanted]) and all(
        torch.equal(tensors[name][place], values[wanted]) for name, values in said.records.tensors.items()
    )


@pytest.mark.parametrize("world", [1, 2, 3, 12])
def test_what_any_number_of_ranks_wrote_comes_back(store: Store, world: int) -> None:
    """Of twelve ranks, three have no image."""
    kept, said = replayed(store), rows(IMAGES)
    assert write(kept, said, world) == "000000100"
    found = kept.look()
    assert same(found, said)
    assert found[1] == {"passed": [], "next": "000000100-2"}
    keys = list(store.list(FOLDER))
    assert len(keys) == world + 1
    manifest = json.loads(store.get(f"{FOLDER}/000000100/manifest.json"))
    assert manifest["rows"] == IMAGES
    assert manifest["losses"] == {"depth": 0.25, "segmentation": None}
    for rank, part in enumerate(manifest["parts"]):
        content = store.get(f"{FOLDER}/000000100/{part['file']}")
        assert part["file"] == f"{rank}-{part['sha256'][:8]}.arrow"
        assert part["sha256"] == hashlib.sha256(content).hexdigest()
        assert part["bytes"] == len(content)


def test_nothing_is_there_before_it_is_written(store: Store) -> None:
    assert replayed(store).look() == ({}, {"passed": [], "next": "000000100"})


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def another_digit(content: bytes) -> bytes:
    assert b'"rows": 9' in content
    return content.replace(b'"rows": 9', b'"rows": 8')


def halve(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGES = [
    ("1-*.arrow", flip, "digest differs"),
    ("1-*.arrow", halve, "digest differs"),
    ("0-*.arrow", None, "is missing"),
    ("manifest.json", another_digit, "digest differs"),
    ("manifest.json", halve, "cut off or damaged"),
    ("manifest.json", lambda content: b"[]", "cut off or damaged"),
    ("manifest.json", lambda content: b"\xff" + content, "cut off or damaged"),
    ("manifest.json", None, "manifest.json is missing"),
]


@pytest.mark.parametrize(("file", "damage", "reason"), DAMAGES)
def test_damage_is_named_and_written_anew_beside_it(
    tmp_path: Path, store: Store, file: str, damage: Callable[[bytes], bytes] | None, reason: str
) -> None:
    kept, said = replayed(store), rows(IMAGES)
    write(kept, said, 2)
    (path,) = tmp_path.glob(f"{FOLDER}/000000100/{file}")
    before = path.read_bytes()
    path.unlink()
    if damage:
        path.write_bytes(damage(before))
    tensors, told = kept.look()
    assert not tensors
    (sentence,) = told["passed"]  # type: ignore[misc]
    assert f"{FOLDER}/000000100: " in str(sentence)
    assert reason in str(sentence)
    assert told["next"] == "000000100-2"

    assert write(kept, said, 1) == "000000100-2"
    found = kept.look()
    assert same(found, said)
    assert found[1] == {"passed": [], "next": "000000100-3"}


def test_the_newest_attempt_that_holds_is_taken(tmp_path: Path, store: Store) -> None:
    """By number: the tenth is newer than the second."""
    kept = replayed(store)
    for attempt in range(1, 11):
        assert write(kept, rows(IMAGES, attempt)) == f"000000100{'' if attempt == 1 else f'-{attempt}'}"
    assert same(kept.look(), rows(IMAGES, 10))
    next(tmp_path.glob(f"{FOLDER}/000000100-10/0-*.arrow")).unlink()
    found = kept.look()
    assert same(found, rows(IMAGES, 9))
    assert "000000100-10: 0-" in str(found[1]["passed"])


def test_records_that_hang_on_something_else_are_no_match(store: Store) -> None:
    write(replayed(store), rows(IMAGES))
    tensors, told = replayed(store, anchor="of another way").look()
    assert not tensors
    assert "hangs on another anchor (at 100, not of another way)" in str(told["passed"])


class Trap:
    """Whoever unpickles it raises."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("it was unpickled",)


def test_nothing_is_unpickled(tmp_path: Path, store: Store) -> None:
    """Not even where a manifest vouches for the pickle."""
    kept = replayed(store)
    write(kept, rows(IMAGES))
    folder = tmp_path / FOLDER / "000000100"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    trap = pickle.dumps(Trap())
    (folder / manifest["parts"][0]["file"]).write_bytes(trap)
    tensors, told = kept.look()
    assert not tensors
    assert "digest differs" in str(told["passed"])

    del manifest["sha256"]
    manifest["parts"][0]["sha256"] = hashlib.sha256(trap).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sha256": digest(manifest)}))
    tensors, told = kept.look()
    assert not tensors
    assert "no Arrow file" in str(told["passed"])

    (folder / "manifest.json").write_bytes(trap)
    tensors, told = kept.look()
    assert not tensors
    assert "cut off or damaged" in str(told["passed"])


@pytest.mark.parametrize("world", [1, 4])
def test_a_models_twelve_anchors_take_at_most_30_mb(tmp_path: Path, store: Store, world: int) -> None:
    """2975 images with depth and segmentation. One anchor on one layer is written, and counted 12 x 2 times:
    its columns are of fixed width, so another anchor takes as many bytes, and another layer is another
    question with the same columns."""
    write(replayed(store), rows(2975), world)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    parts = sum(path.stat().st_size for path in files if path.suffix == ".arrow")
    assert parts <= 0.4e3 * 2975
    assert 12 * 2 * sum(path.stat().st_size for path in files) <= 30e6
