"""Successive halving alone, on trials that are nothing but a name and a score."""

from __future__ import annotations

import math
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from jointdistill.search.objective import Objective
from jointdistill.search.schedulers.halving import Halving

RUNGS = (10, 50, 60)


class Member:
    """What the scheduler sees of a trial."""

    def __init__(self, name: str, score: float, diverges: bool = False) -> None:
        self.name, self.score, self.diverges = name, score, diverges
        self.after = dict.fromkeys(RUNGS, score)
        """Rung → its score there."""
        self.losses = 0
        """How often its process is lost on the way to its end."""
        self.status, self.step = Trial.PENDING, 0

    def __str__(self) -> str:
        return self.name

    def is_finished(self) -> bool:
        return self.status in (Trial.TERMINATED, Trial.ERROR)


class Controller:
    """Lets one member train at a time, and stops whom the scheduler stops."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members

    def get_trials(self) -> list[Any]:
        return self.members

    def run_side_by_side(self) -> dict[str, int]:
        """As `run`, with a process for each: the worst always comes first to its rung."""
        halving: Any = Halving(Objective("score", True), RUNGS, reduction=2)
        while True:
            while chosen := halving.choose_trial_to_run(self):
                chosen.status = Trial.RUNNING
            running = [member for member in self.members if member.status == Trial.RUNNING]
            if not running:
                return {member.name: member.step for member in self.members}
            self.train(halving, min(running, key=lambda member: member.score), set())

    def stop_trial(self, trial: Any) -> None:
        trial.status = Trial.TERMINATED

    def run(
        self,
        went_on: set[tuple[int, str]] = frozenset(),  # type: ignore[assignment]
        reduction: int = 5,
    ) -> dict[str, int]:
        """Name → the last step that was reached, as the scheduler of a new driver decides."""
        halving: Any = Halving(Objective("score", True), RUNGS, reduction)
        while chosen := halving.choose_trial_to_run(self):
            self.train(halving, chosen, went_on)
        return {member.name: member.step for member in self.members}

    def train(self, halving: Any, member: Any, went_on: set[tuple[int, str]]) -> None:
        while True:
            member.step = next(rung for rung in RUNGS if rung > member.step)
            result = {
                "score": member.after[member.step],
                "step": member.step,
                "went_on": (member.step, member.name) in went_on,
            }
            if member.step == RUNGS[-1] and member.losses:
                member.losses -= 1
                member.step, member.status = RUNGS[-2], Trial.ERROR  # as Tune does before it tells
                halving.on_trial_error(self, member)
                member.status = Trial.PENDING
                return
            if member.step == RUNGS[-1]:
                failure = "diverged" if member.diverges else ""
                member.status = Trial.TERMINATED
                halving.on_trial_complete(self, member, {**result, "failure": failure})
                return
            if halving.on_trial_result(self, member, result) == TrialScheduler.PAUSE:
                member.status = Trial.PAUSED
                return


def members(number: int) -> list[Member]:
    """Each one better than all before it."""
    return [Member(f"{place:03d}", float(place)) for place in range(number)]


def those(reached: dict[str, int], step: int) -> list[str]:
    return [name for name, last in reached.items() if last >= step]


def test_the_best_fifth_goes_on_and_of_them_the_best_to_the_end() -> None:
    reached = Controller(members(16)).run()
    assert those(reached, 50) == ["013", "014", "015"] and those(reached, 60) == ["015"]


def test_better_ones_that_come_later_go_on_too() -> None:
    first = Controller(members(16)).run()
    went_on = {(rung, name) for name, last in first.items() for rung in RUNGS if last > rung}
    reached = Controller(members(32)).run(went_on)
    assert those(reached, 50) == ["013", "014", "015", *(f"{place:03d}" for place in range(26, 32))]
    assert those(reached, 60) == ["015", "031"]


def test_for_one_that_diverges_the_next_best_steps_in() -> None:
    there = members(16)
    there[-1].diverges = True
    assert those(Controller(there).run(), 60) == ["014", "015"]


def test_however_one_fails_as_many_go_on() -> None:
    there = members(16)
    there[-1].diverges = True
    reached = Controller(there).run(reduction=2)
    assert those(reached, 60) == ["011", "012", "013", "014", "015"]  # four come to their end


def test_where_fewer_came_than_one_in_five_the_best_goes_on() -> None:
    assert those(Controller(members(3)).run(), 60) == ["002"]


def test_a_rung_decides_when_all_have_come() -> None:
    there = members(16)
    for member in there:  # whoever comes to the second rung late is better there
        member.after[50] = -member.score
    reached = Controller(there).run(reduction=2)
    assert those(reached, 50) == [f"{place:03d}" for place in range(8, 16)]
    assert those(reached, 60) == [f"{place:03d}" for place in range(8, 12)]


def test_with_a_process_for_each_no_more_go_on_than_one_by_one() -> None:
    reached = Controller(members(16)).run_side_by_side()
    assert those(reached, 50) == [f"{place:03d}" for place in range(8, 16)]
    assert those(reached, 60) == [f"{place:03d}" for place in range(12, 16)]


def test_one_that_is_begun_again_keeps_its_place() -> None:
    there = members(16)
    there[-1].losses = 2
    assert those(Controller(there).run(), 60) == ["015"]


def test_for_one_that_ends_without_a_score_the_next_best_steps_in() -> None:
    there = members(16)
    there[-1].after[60] = math.nan
    assert those(Controller(there).run(), 60) == ["014", "015"]
