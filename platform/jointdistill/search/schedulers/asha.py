"""Asynchronous successive halving: only the best at each rung go on to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jointdistill.search.schedulers.base import Race, SchedulerRecipe
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Asha(SchedulerRecipe):
    """ASHA (Li et al., MLSys 2020, 1810.05934), in the form that stops trials: at steps r, rη, rη² …, a trial
    goes on if it is among the best 1/η of those that came so far."""

    grace: int = 0
    """Steps r before the first decision; 0: as many as make three rungs."""
    reduction: int = 3
    """η: of how many trials one goes on."""

    def __post_init__(self) -> None:
        if self.reduction < 2 or self.grace < 0:
            raise Refusal(
                f"--scheduler.reduction {self.reduction} must be at least 2, and --scheduler.grace "
                f"{self.grace} at least 0."
            )

    def rungs(self, steps: int) -> tuple[int, ...]:
        """r, rη, rη² … and the end."""
        first = min(self._first(steps), steps)
        rungs = []
        while first < steps:
            rungs.append(first)
            first *= self.reduction
        return (*rungs, steps)

    def expected_steps(self, steps: int, trials: int) -> float:
        """A 1/η of the trials climbs each rung."""
        before, expected, going = 0, 0.0, float(trials)
        for rung in self.rungs(steps):
            expected += going * (rung - before)
            before, going = rung, max(1.0, going / self.reduction)
        return expected

    def build(self, race: Race) -> Any:
        """See `SchedulerRecipe`."""
        from ray.tune.schedulers import ASHAScheduler

        return ASHAScheduler(
            time_attr="step",
            metric=race.objective.name,
            mode=race.objective.mode,
            max_t=race.steps,
            grace_period=min(self._first(race.steps), race.steps),
            reduction_factor=self.reduction,
        )

    def _first(self, steps: int) -> int:
        return self.grace or max(1, round(steps / self.reduction**2))
