"""The contract of a trajectory: what was known, kept as records, and the loss that uses them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from jointdistill.recipe import Recipe
from jointdistill.tasks.base import Task
from jointdistill.trajectory.record import Anchor, Layout
from jointdistill.types import Batch, Feedback, Prediction, Refusal, State

Gather = Callable[[State], list[State]]
"""Every rank's state, in rank order, on every rank. Provided by the engine."""


@dataclass(frozen=True)
class Setting:
    """What a trajectory must know of its run."""

    tasks: Mapping[str, Task]
    layers: tuple[str, ...]
    """The student's feature layers."""
    images: int
    """Rows of the training cache."""
    labelled: Mapping[str, frozenset[int]]
    """Task → rows whose label the run may see."""
    heard: frozenset[str]
    """Tasks with labels in the feedback slice."""
    teachers: Mapping[str, tuple[str, ...]]
    """Teacher → its tasks."""
    moments: Mapping[str, int]
    """Teacher → how many anchors it kept; 0 where it was not trained here."""
    steps: int
    """Optimiser steps of the whole run; ramps follow it."""
    seed: int
    device: torch.device
    anchors: Mapping[str, tuple[Anchor, ...]] = field(default_factory=dict)
    """Teacher → the moments of its way, earliest first; a teacher that was not trained here has none."""


class Trajectory(ABC):
    """One source of memories at work on one rank."""

    @abstractmethod
    def loss(self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> Tensor:
        """[] this rank's share of the loss, gain and ramp included: a sum over its images divided by
        `batch.total`, so that the shares of all ranks add up.

        Records lie in canonical coordinates; `batch.warp` brings them to the view.
        """

    def write(  # noqa: B027 - only some sources write
        self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch
    ) -> None:
        """Note what this forward knew. Nothing written is read before the next `merge`."""

    def pool(self, gather: Gather) -> None:  # noqa: B027
        """Before a snapshot within an epoch: bring all ranks' notes to every rank, still unread.

        Afterwards any rank's state holds everything, and a run may go on with any number of workers.
        """

    def merge(self, gather: Gather) -> None:  # noqa: B027
        """At the end of an epoch: bring all ranks' notes together and read from them from now on."""

    def observe(self, feedback: Feedback) -> None:  # noqa: B027 - only some sources listen
        """Hear how student and teachers do on the feedback slice."""

    def log(self) -> dict[str, float]:
        """What to record, by metric keys that begin with `trajectory/`. Called once an interval."""
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

    free: ClassVar[tuple[str, ...]] = ()
    """Knobs that do not touch what is remembered: a run with others may take a memory over."""

    def replayed(self, tasks: Mapping[str, Task]) -> Layout | None:
        """How to record the anchors of a teacher of these tasks, for `Setting.anchors`.

        None where the source does not look at anchors: then nobody need replay them.
        """
        return None

    @abstractmethod
    def check(self, setting: Setting) -> None:
        """Raises `Refusal` where the run lacks what the source lives on. No anchor is replayed yet."""

    @abstractmethod
    def build(self, setting: Setting) -> Trajectory:
        """The source for a run that passed `check`, with its anchors."""


def ramped(gain: float, ramp: float, step: int, steps: int) -> float:
    """The gain at a step: it rises from 0 over the first share `ramp` of the run's steps."""
    return gain * min(1.0, step / max(1.0, ramp * steps))


def refuse_knobs(name: str, gain: float, ramp: float) -> None:
    """Raise a `Refusal` where a source's gain or ramp makes no sense."""
    if not gain > 0:
        raise Refusal(f"{name} with gain {gain} would do nothing: give a gain > 0, or no trajectory at all.")
    if not 0 <= ramp <= 1:
        raise Refusal(f"{name}'s ramp {ramp} is no share of the run: give a number in 0..1.")


def refuse_layer(name: str, layer: str, layers: tuple[str, ...]) -> None:
    """Raise a `Refusal` where the student has no such feature layer."""
    if layer not in layers:
        raise Refusal(
            f"{name} looks at the layer {layer!r}, which the student lacks: choose of {', '.join(layers)}."
        )
