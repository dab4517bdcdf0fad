"""Row 8: a bit flips, an object is cut off, an object is gone. The newest whole snapshot is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import waiting
from tests.faults.oracle import Attempts, End, die_at, end, straight, work


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    with waiting.for_snapshots():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@pytest.fixture(scope="module")
def expected(folder: Path) -> End:
    return straight(work(folder))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(bytes(content))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink], ids=["flipped", "cut", "gone"])
@pytest.mark.parametrize("what", ["*.safetensors", "manifest.json"])
def test_row_8_a_damaged_snapshot_costs_one_interval_and_is_named(
    folder: Path,
    expected: End,
    harm: Callable[[Path], None],
    what: str,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    name = request.node.callspec.id.replace("*", "all")
    attempts = Attempts(replace(work(folder), run=f"damaged-{name}"))
    assert not attempts.go(die_at(8))
    (snapshot,) = (folder / "storage" / "runs" / attempts.work.run / "snapshots").glob("000000006-*")
    (file,) = snapshot.glob(what)
    harm(file)
    assert attempts.go()
    assert "Going on from step 3 of 12." in attempts.notes
    named = [note for note in attempts.notes if note.startswith("Passed over") and snapshot.name in note]
    is_none = what == "manifest.json" and harm is Path.unlink  # without a manifest there is no snapshot
    assert bool(named) != is_none
    assert expected.differences(end(attempts.work)) == []
    record_property("lost", "the damaged snapshot")
    record_property("recomputed", f"{attempts.recomputed} steps, back to the snapshot before it")


def test_row_8_all_snapshots_damaged_begin_anew(folder: Path, expected: End, record_property) -> None:
    attempts = Attempts(replace(work(folder), run="damaged-all"))
    assert not attempts.go(die_at(8))
    for file in (folder / "storage" / "runs" / "damaged-all" / "snapshots").glob("*/*.safetensors"):
        flip(file)
    assert attempts.go()
    assert sum(note.startswith("Passed over") for note in attempts.notes) == 2
    assert expected.differences(end(attempts.work)) == []
    record_property("lost", "all of its snapshots: they were damaged")
    record_property("recomputed", f"{attempts.recomputed} steps, from the beginning")
