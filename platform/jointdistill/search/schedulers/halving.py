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
    """Every trial waits at its rung. First all begin; then the best 1/η of those who reach a rung go on, as
    soon as that is sure whatever those are worth who still come; so do better ones that come later, with
    more trials; in the end the others are stopped. At least the best of the top rung goes on, or for one
    that fails the next.
    """

    def __init__(self, objective: Objective, rungs: Sequence[int], reduction: int) -> None:
        super().__init__()
        self._objective, self._reduction = objective, reduction
        self._reached: dict[int, dict[Trial, float]] = {rung: {} for rung in rungs[:-1]}
        self._lost = dict.fromkeys(self._reached, 0)
        """How many reached a rung and failed later: another one goes on for each."""
        self._waits: dict[Trial, int] = {}
        """Where a trial waits."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Note how it did, and let it wait."""
        score = float(result.get(self._objective.name, math.nan))
        worst = -math.inf if self._objective.more_is_better else math.inf
        rung = int(result["step"])
        self._reached[rung][trial] = worst if math.isnan(score) else score
        if result["went_on"]:  # what was decided once stays, in whatever order answers come this time
            return str(TrialScheduler.CONTINUE)
        self._waits[trial] = rung
        return str(TrialScheduler.PAUSE)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Forget it where it failed, or ended without a score: the next best is to step in."""
        if result.get("failure") or not math.isfinite(float(result.get(self._objective.name, math.nan))):
            self._forget(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Forget it, unless Tune begins it again, from its last rung: it has that state already then."""
        if trial.status != Trial.ERROR:
            self._forget(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """A new one; else the best that may go on; none where nothing is to be done now."""
        trials = tune_controller.get_trials()
        for trial in trials:
            if trial.status == Trial.PENDING:
                return trial
        going = [trial for trial in trials if not trial.is_finished()]
        under_way = [trial for trial in going if trial.status != Trial.PAUSED]
        for rung, there in self._reached.items():
            coming = sum(trial not in there for trial in under_way)
            came = len(there) + self._lost[rung]
            sure = (came + coming) // self._reduction - coming
            if chosen := self._next(rung, max(0, sure)):
                return chosen
        if not under_way:
            top = max((rung for rung, there in self._reached.items() if there), default=0)
            if top and (chosen := self._next(top, 1)):
                return chosen  # fewer than η came so far
            for trial in going:
                tune_controller.stop_trial(trial)
        return None

    def _next(self, rung: int, room: int) -> Trial | None:
        """The best that waits at a rung, if it is among the `room` best of all who reached it."""
        there, sign = self._reached[rung], -1 if self._objective.more_is_better else 1
        for trial in sorted(there, key=lambda trial: (sign * there[trial], str(trial)))[:room]:
            if trial.status == Trial.PAUSED and self._waits.get(trial) == rung:
                del self._waits[trial]
                return trial
        return None

    def _forget(self, trial: Trial) -> None:
        """Let it take nobody's place."""
        for rung, there in self._reached.items():
            if there.pop(trial, None) is not None:
                self._lost[rung] += 1
