"""The contract of a trajectory: what was known, kept as records, and the loss that uses them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from jointdistill.recipe import Recipe
from jointdistill.tasks.base import Task
from jointdistill.types import Batch, Feedback, Prediction, State

Gather = Callable[[State], list[State]]
"""Every rank's state, in rank order, on every rank. Provided by the engine."""


@dataclass(frozen=True)
class Setting:
    """What a trajectory must know of its run."""

    tasks: Mapping[str, Task]
    images: int
    """Rows of the training cache."""
    labelled: Mapping[str, frozenset[int]]
    """Task → rows whose label the run may see."""
    teachers: Mapping[str, tuple[str, ...]]
    """Teacher → its tasks."""
    steps: int
    """Optimiser steps of the whole run; ramps follow it."""
    seed: int
    device: torch.device


class Trajectory(ABC):
    """One source of memories at work on one rank."""

    @abstractmethod
    def loss(self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> Tensor:
        """[] this rank's share of the loss, gain and ramp included: a sum over its images divided by
        `batch.total`, so that the shares of all ranks add up.

        Records lie in canonical coordinates; `batch.warp` brings them to the view.
        """

    @abstractmethod
    def write(self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> None:
        """Note what this forward knew. Nothing written is read before the next `merge`."""

    @abstractmethod
    def merge(self, gather: Gather) -> None:
        """At the end of an epoch: bring all ranks' notes together, alike on every rank."""

    def observe(self, feedback: Feedback) -> None:  # noqa: B027 - only some sources listen
        """Hear how student and teachers do on the feedback slice."""

    def log(self) -> dict[str, float]:
        """What to record: gate share, rows known. Called once an interval."""
        return {}

    @abstractmethod
    def state(self) -> State:
        """Everything `load` needs to go on exactly."""

    @abstractmethod
    def load(self, state: State) -> None:
        """Go on from a state."""


@dataclass(frozen=True)
class TrajectoryRecipe(Recipe, ABC):
    """A source's knobs."""

    @abstractmethod
    def build(self, setting: Setting) -> Trajectory:
        """The source for this run."""
