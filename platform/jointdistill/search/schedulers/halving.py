"""Successive halving for Tune, with trials that wait at a rung instead of being judged as they come.

Tune's own ASHA stops a trial, or lets it go on, in the moment it reaches a rung, by those that came before:
the first few always go on, and of 16 trials that is a large part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from jointdistill.search.objective import Objective


class Halving(FIFOScheduler):  # type: ignore[misc]  # ray is read untyped
    """Every trial waits at its rung. First all begin; then, from the lowest rung up, the best 1/η of those
    who have reached a rung go on, as soon as there is room, and so do those who come later and are among
    them; in the end the others are stopped. At least the best of the top rung goes on, or for one that fails
    the next.

    From the lowest up, since a rung decides the better the more have come: the first of two to arrive may be
    the seventh of eight.
    """

    def __init__(self, objective: Objective, rungs: Sequence[int], reduction: int) -> None:
        super().__init__()
        self._objective, self._reduction = objective, reduction
        self._reached: dict[int, dict[Trial, float]] = {rung: {} for rung in rungs[:-1]}
        self._gone_on: set[tuple[int, Trial]] = set()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Note how it did, and let it wait."""
        score = float(result.get(self._objective.name, math.nan))
        worst = -math.inf if self._objective.more_is_better else math.inf
        rung = int(result["step"])
        self._reached[rung][trial] = worst if math.isnan(score) else score
        if result["went_on"]:  # what was decided once stays, in whatever order answers come this time
            self._gone_on.add((rung, trial))
            return str(TrialScheduler.CONTINUE)
        return str(TrialScheduler.PAUSE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Forget it where it failed."""
        if result.get("failure"):
            self.on_trial_error(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Forget it, so that it takes nobody's place."""
        for there in self._reached.values():
            there.pop(trial, None)
        self._gone_on = {(rung, gone) for rung, gone in self._gone_on if gone is not trial}

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """A new one; else the best that may go on; none where nothing is to be done now."""
        trials = tune_controller.get_trials()
        for trial in trials:
            if trial.status == Trial.PENDING:
                return trial
        for rung in self._reached:
            if chosen := self._next(rung, len(self._reached[rung]) // self._reduction):
                return chosen
        going = [trial for trial in trials if not trial.is_finished()]
        if all(trial.status == Trial.PAUSED for trial in going):
            top = max((rung for rung, there in self._reached.items() if there), default=0)
            if top and (chosen := self._next(top, 1)):
                return chosen  # fewer than η came so far
            for trial in going:
                tune_controller.stop_trial(trial)
        return None

    def _next(self, rung: int, room: int) -> Trial | None:
        """The best of a rung that did not go on yet, if it is among its `room` best."""
        there, sign = self._reached[rung], -1 if self._objective.more_is_better else 1
        for trial in sorted(there, key=lambda trial: (sign * there[trial], str(trial)))[:room]:
            if trial.status == Trial.PAUSED and (rung, trial) not in self._gone_on:
                self._gone_on.add((rung, trial))
                return trial
        return None
