"""Row 1: kill -9 of Ray Train workers, a dozen times in one run. Row 9: Ray's own index is cut in half."""

from __future__ import annotations

import random
import tempfile
from functools import partial
from pathlib import Path

import pytest

from tests.faults.oracle import End
from tests.faults.workers import EVERY, STEPS, Watcher, ended, kill_one, launch, straight, train

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def expected() -> End:
    return straight(workers=2)


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.slow)])
def test_row_1_killed_workers_lose_nothing(folder: Path, expected: End, kills: int, record_property) -> None:
    dice = random.Random(kills)
    steps = sorted(dice.sample(range(4, STEPS, 4), kills))  # something is reported every four steps
    watcher = Watcher({step: partial(kill_one, dice.randint(0, 1)) for step in steps})
    told = launch(folder, f"killed-{kills}", restarts=2)  # in a row
    train(folder, told, watcher)
    lost = [note for note in watcher.notes if note.startswith("Lost rank")]
    assert len(lost) == kills
    assert expected.differences(ended(folder, told)) == []
    assert max(watcher.back) <= EVERY + 4  # a snapshot may have been on its way
    record_property("lost", f"nothing in {kills} kills")
    record_property("recomputed", f"at most {max(watcher.back)} reported steps (interval {EVERY})")


@pytest.mark.slow
def test_row_9_an_index_of_rays_that_is_cut_in_half_is_not_needed(
    folder: Path, expected: End, record_property
) -> None:
    cut: list[Path] = []

    def cut_and_kill() -> None:
        for file in Path(tempfile.gettempdir()).glob("jd-train-*/indexed/*.json"):
            file.write_text(file.read_text()[: file.stat().st_size // 2])
            cut.append(file)
        for number in (0, 1):
            kill_one(number)

    watcher = Watcher({20: cut_and_kill})
    told = launch(folder, "indexed")
    train(folder, told, watcher)
    assert watcher.resumed
    assert expected.differences(ended(folder, told)) == []
    record_property("lost", f"nothing; {len(cut) or 'no'} files of Ray's index were there to cut")
    record_property("recomputed", f"{watcher.back[0]} reported steps")
