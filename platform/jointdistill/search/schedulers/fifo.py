"""First in, first out: every trial runs to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jointdistill.search.schedulers.base import Race, SchedulerRecipe


@dataclass(frozen=True)
class Fifo(SchedulerRecipe):
    """No trial is stopped early: nothing is missed, and nothing saved."""

    ranks: ClassVar[bool] = False

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Only the end."""
        return (steps,)

    def expected_steps(self, steps: int, trials: int) -> float:
        """All."""
        return float(steps * trials)

    def build(self, race: Race) -> Any:
        """See `SchedulerRecipe`."""
        from ray.tune.schedulers import FIFOScheduler

        return FIFOScheduler()
