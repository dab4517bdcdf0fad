"""The contract of a scheduler: it decides, at rungs, which trials go on and with what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from jointdistill.recipe import Recipe
from jointdistill.search.objective import Objective
from jointdistill.search.space import Space


@dataclass(frozen=True)
class Race:
    """What a scheduler must know of its sweep."""

    space: Space
    objective: Objective
    steps: int
    """Of a whole trial."""
    seed: int


class SchedulerRecipe(Recipe, ABC):
    """A scheduler's knobs. On the command line it goes by the name of its file (`--scheduler asha`)."""

    ranks: ClassVar[bool] = True
    """Whether it ranks trials before they are finished, by one number."""
    gathers: ClassVar[bool] = False
    """Whether all trials are under way before it decides: then no searcher can learn from some of them."""
    clones: ClassVar[bool] = False
    """Whether trials take over what others have learnt, and its knobs."""

    @abstractmethod
    def rungs(self, steps: int) -> tuple[int, ...]:
        """The steps after which it decides, the last step of a trial included."""

    def expected_steps(self, steps: int, trials: int) -> float:
        """Training steps of the whole sweep, as the method's authors count them; here nobody stops early."""
        return float(steps * trials)

    @abstractmethod
    def build(self, race: Race) -> Any:
        """One of Tune's schedulers. Raises `Refusal` where it cannot deal with the space."""
