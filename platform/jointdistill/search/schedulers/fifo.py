"""First in, first out: every trial runs to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jointdistill.search.schedulers.base import Race, SchedulerRecipe
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Fifo(SchedulerRecipe):
    """No trial is stopped early: nothing is missed, and nothing saved."""

    ranks: ClassVar[bool] = False

    judged: int = 1
    """How often in a trial, at equal distances: learning curves show whether halving would pay."""

    def __post_init__(self) -> None:
        if self.judged < 1:
            raise Refusal(f"--scheduler.judged {self.judged} leaves nothing to compare: give at least 1.")

    def rungs(self, steps: int) -> tuple[int, ...]:
        """Where it is judged."""
        return tuple(
            sorted({max(1, round(steps * part / self.judged)) for part in range(1, self.judged + 1)})
        )

    def build(self, race: Race) -> Any:
        """See `SchedulerRecipe`."""
        from ray.tune.schedulers import FIFOScheduler

        return FIFOScheduler()
