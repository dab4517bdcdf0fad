"""Rows 1, 7 and 22 on the engine alone: a run that dies at random, several times, ends as a straight one."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from jointdistill.store.objects import open_store
from tests.faults.dying import DyingStore
from tests.faults.oracle import EVERY, Attempts, die_at, end, straight, work


@pytest.mark.timeout(900)
@pytest.mark.parametrize("points", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_row_1_a_run_killed_at_random_is_a_straight_one(tmp_path: Path, points: int, record_property) -> None:
    mine = work(tmp_path)
    expected = straight(mine)
    dice = random.Random(points)
    kills = runs = 0
    worst = 0
    while kills < points:
        attempts = Attempts(replace(mine, run=f"killed-{runs}"))
        runs += 1
        for _ in range(dice.randint(1, 6)):
            if dice.random() < 0.5:
                done = attempts.go(die_at(dice.randint(1, 12)))
            else:
                store = DyingStore(open_store(mine.storage), dice.randint(0, 18), dice.random() < 0.5)
                done = attempts.go(store=store)
            if done:
                break
            kills += 1
        else:
            assert attempts.go()
        assert expected.differences(end(attempts.work)) == [], (runs, attempts.steps)
        worst = max(worst, *(_lost_by_a_kill(attempts.steps)), 0)
    assert worst <= 2 * EVERY
    record_property("lost", f"0 committed steps in {kills} kills of {runs} runs")
    record_property("recomputed", f"at most {worst} steps after a kill (interval {EVERY})")


def _lost_by_a_kill(steps: list[int]) -> list[int]:
    """How far each restart went back."""
    return [before - now + 1 for before, now in pairwise(steps) if now <= before] or [0]
