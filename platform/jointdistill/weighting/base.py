"""The contract of a weighting: how much of each term the student takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from torch import nn

from jointdistill.recipe import Recipe
from jointdistill.types import Feedback, Losses, State, Stats, Term, Weighted


class Need(Enum):
    """What a method asks of the engine beyond the losses."""

    GRAM = "the Gram matrix of the terms' gradients at the shared feature, each step"
    FEEDBACK = "the losses of student and teachers on the feedback slice, each period"
    TEACHER_LOSS = "the teachers' own supervised losses on each image of the batch"
    SECOND_FORWARD = "the losses once more after the step, on the same batch"


class Weighting(ABC):
    """A method at work. Every rank holds one and sees the same statistics, so all stay alike."""

    needs: frozenset[Need] = frozenset()
    """What the engine must provide; it may depend on the knobs."""

    @abstractmethod
    def weigh(self, losses: Losses, stats: Stats) -> Weighted:
        """The factors on a batch's losses, whose rows are the terms the method was built for, in order.

        Runs every step, and once a micro-batch: no `.item()`, no collective.
        """

    def observe(self, feedback: Feedback) -> None:  # noqa: B027 - most methods do not listen
        """Hear how student and teachers do on the feedback slice. First called before the first step."""

    def after_step(self, stats: Stats) -> None:  # noqa: B027
        """Hear the newest reduced statistics; called once for each window of steps, when it is full."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What a learned method wants optimised beside the student.

        The engine moves them to its device before the first step, and sums their gradients over ranks.
        """
        return ()

    def log(self) -> dict[str, float]:
        """What to record of the method itself: gaps, gates. Called once an interval; always finite."""
        return {}

    @abstractmethod
    def state(self) -> State:
        """Everything `load` needs to go on exactly."""

    @abstractmethod
    def load(self, state: State) -> None:
        """Go on from a state."""


@dataclass(frozen=True)
class WeightingRecipe(Recipe, ABC):
    """A method's knobs. On the command line it goes by the name of its file (`--weighting none`)."""

    @property
    def teaches(self) -> bool:
        """Whether teachers are listened to at all."""
        return True

    @abstractmethod
    def build(self, terms: tuple[Term, ...]) -> Weighting:
        """The method for these terms; their order must not matter.

        Raises `Refusal` where a knob names what is not among the terms.
        """
