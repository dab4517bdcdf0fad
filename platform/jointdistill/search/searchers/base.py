"""The contract of a searcher: it thinks of the next trial."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jointdistill.recipe import Recipe
from jointdistill.search.objective import Objective
from jointdistill.search.space import Point, Space


@dataclass(frozen=True)
class Search:
    """What a searcher must know of its sweep."""

    space: Space
    objectives: tuple[Objective, ...]
    trials: int
    seed: int
    at_once: int = 1
    """Trials at a time."""
    known: Sequence[Point] = ()
    """Where trials were begun before, in their order: an interrupted sweep begins with them again."""


class SearcherRecipe(Recipe, ABC):
    """A searcher's knobs. On the command line it goes by the name of its file (`--searcher tpe`)."""

    listens: ClassVar[bool]
    """Whether it learns from trials, so that which one comes next depends on what others gave."""

    def trials(self, search: Search) -> int:
        """How many trials there will be at most."""
        return search.trials

    @abstractmethod
    def build(self, search: Search) -> Any:
        """One of Tune's search algorithms, and it alone decides on points."""
