"""Successive halving: only the best at each rung go on to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from jointdistill.search.schedulers.base import Race, SchedulerRecipe
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Asha(SchedulerRecipe):
    """ASHA (Li et al., MLSys 2020, 1810.05934): at steps r, rη, rη² … the best 1/η go on, of those who came
    and those who still come. All trials begin before any goes on, so that none is let through for want of
    others."""

    gathers: ClassVar[bool] = True

    grace: int = 0
    """Steps r before the first decision; 0: an eighth of the run."""
    reduction: int = 2
    """η: of how many trials one goes on."""

    def __post_init__(self) -> None:
        if self.reduction < 2 or self.grace < 0:
            raise Refusal(
                f"--scheduler.reduction {self.reduction} must be at least 2, and --scheduler.grace "
                f"{self.grace} at least 0."
            )

    def rungs(self, steps: int) -> tuple[int, ...]:
        """r, rη, rη² … and the end."""
        first = min(self.grace or math.ceil(steps / 8), steps)
        rungs = []
        while first < steps:
            rungs.append(first)
            first *= self.reduction
        return (*rungs, steps)

    def expected_steps(self, steps: int, trials: int) -> float:
        """A 1/η of the trials climbs each rung."""
        before, expected, going = 0, 0, trials
        for rung in self.rungs(steps):
            expected += going * (rung - before)
            before, going = rung, max(1, going // self.reduction)
        return float(expected)

    def build(self, race: Race) -> Any:
        """See `SchedulerRecipe`."""
        from jointdistill.search.schedulers.halving import Halving

        return Halving(race.objective, self.rungs(race.steps), self.reduction)
