"""Row 21: the clock jumps. Snapshots and metrics are ordered by step, never by time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import waiting
from tests.faults.oracle import Attempts, die_at, end, straight, work


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    with waiting.for_snapshots():
        yield


@pytest.mark.parametrize("jump_s", [-1e6, 1e6])
def test_row_21_a_clock_that_jumps_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump_s: float, record_property
) -> None:
    mine = work(tmp_path)
    expected = straight(mine)
    attempts = Attempts(replace(mine, run="jumped"))
    assert not attempts.go(die_at(5))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + jump_s)
    assert not attempts.go(die_at(8))
    monkeypatch.setattr(time, "time", lambda: now() - jump_s)
    assert attempts.go()
    assert [note for note in attempts.notes if note.startswith("Going on")] == [
        "Going on from step 3 of 12.",
        "Going on from step 6 of 12.",
    ]
    assert expected.differences(end(attempts.work)) == []
    record_property("lost", "nothing")
    record_property("recomputed", f"{attempts.recomputed} steps")
