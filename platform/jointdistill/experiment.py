"""What is computed.

An experiment, with the digests of its data and teachers, is a run's identity; how it runs (`Launch`) is
not: the same experiment on more workers is the same run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal, get_args, get_origin, get_type_hints

from jointdistill.data.augment import Augment
from jointdistill.data.sampling import Sampling
from jointdistill.distill.base import DistilRecipe
from jointdistill.nets.joint import Joint
from jointdistill.recipe import Recipe, describe, digest
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import TeacherRecipe
from jointdistill.trajectory.base import TrajectoryRecipe
from jointdistill.types import JSON, Refusal, refuse_odd_name
from jointdistill.weighting.base import WeightingRecipe


@dataclass(frozen=True)
class Optimise(Recipe):
    """How the student descends."""

    steps: int = 600
    """Optimiser steps of the whole run."""
    optimiser: Literal["adamw", "sgd"] = "adamw"
    """The rule of a step."""
    learning_rate: float = 2e-3
    """The peak, after the warm-up."""
    weight_decay: float = 0.01
    """Of matrices and kernels; AdamW takes it apart from the gradient."""
    momentum: float = 0.9
    """SGD's momentum, or AdamW's first beta."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the learning rate moves after the warm-up."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises linearly."""
    clip: float = 1.0
    """Largest norm of the gradient; 0 switches clipping off."""
    ema: float = 0.0
    """Decay of a moving average of the student, which is then evaluated and exported; 0: off."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 runs the forward pass under autocast."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise Refusal(f"--optimise.steps {self.steps} trains nothing: give at least 1.")
        if not 0 < self.learning_rate < math.inf:
            raise Refusal(f"--optimise.learning-rate {self.learning_rate} must be a number above 0.")
        for knob, kind in get_type_hints(type(self)).items():
            words, chosen = get_args(kind), getattr(self, knob)
            if get_origin(kind) is Literal and chosen not in words:
                raise Refusal(f"--optimise.{knob} {chosen!r} is none: choose {' or '.join(words)}.")
        for knob in ("momentum", "ema", "warmup"):
            if not 0 <= getattr(self, knob) < 1:
                raise Refusal(
                    f"--optimise.{knob} {getattr(self, knob)} is out of range: give a number from 0 to below "
                    "1."
                )
        for knob in ("weight_decay", "clip"):
            if not 0 <= getattr(self, knob) < math.inf:
                raise Refusal(
                    f"--optimise.{knob.replace('_', '-')} {getattr(self, knob)} is out of range: give a "
                    "number of at least 0."
                )


@dataclass(frozen=True)
class Experiment:
    """What is computed. A contradiction in it dies here, before anything is read."""

    name: str
    """Names the run, together with its identity."""
    tasks: Mapping[str, Task]
    """Task → how it is read, asked, judged and drawn."""
    weighting: WeightingRecipe
    """How much of each teacher the student takes."""
    data: str = "scenes"
    """Name of the data set, where the launch gives no address."""
    student: Joint = field(default_factory=Joint)
    teachers: Mapping[str, TeacherRecipe] = field(default_factory=dict)
    """Name → where the frozen teacher comes from."""
    distil: tuple[DistilRecipe, ...] = ()
    """What student and teacher are compared by; each teacher gets every loss of its tasks."""
    trajectory: tuple[TrajectoryRecipe, ...] = ()
    """What is remembered against forgetting; empty costs nothing."""
    sampling: Sampling = field(default_factory=Sampling)
    augment: Augment = field(default_factory=Augment)
    optimise: Optimise = field(default_factory=Optimise)
    floors: Mapping[str, float] = field(default_factory=dict)
    """`task/metric` → the feedback-slice score a teacher must reach before it may teach."""
    anchors: int = 0
    """How many copies of the weights to keep along the way: at the end, at half of it, at half of that …;
    `teacher-way` replays a teacher's."""
    origin: str = ""
    """RUN@STEP of a snapshot to go on from; empty: from first weights."""
    seed: int = 0
    """Of first weights, order of images and views."""

    def __post_init__(self) -> None:
        refuse_odd_name("--name", self.name)
        if not self.tasks:
            raise Refusal(
                f"The experiment '{self.name}' has no task: name at least one, such as depth=Depth()."
            )
        if not 0 <= self.seed < 2**31 or self.anchors < 0:
            raise Refusal(
                f"--seed {self.seed} or --anchors {self.anchors} is out of range: give 0 … 2³¹ − 1."
            )
        self._refuse_teachers()
        self._refuse_unknown_tasks()
        self._refuse_the_untaught()

    def _refuse_teachers(self) -> None:
        if self.teachers and not self.distil:
            raise Refusal(
                f"The experiment '{self.name}' has teachers but no distillation loss: add one to `distil`, "
                "such as TemperedKL()."
            )
        for teacher in self.teachers:
            if teacher == "labels" or "/" in teacher:
                raise Refusal(
                    f"A teacher cannot be called '{teacher}': metrics would mix it up, so rename it."
                )
        compared = [(loss.task, loss.loss) for loss in self.distil]
        for pair in compared:
            if compared.count(pair) > 1:
                raise Refusal(
                    f"The experiment '{self.name}' compares {pair[0]} twice by {pair[1]}: keep one of them."
                )

    def _refuse_unknown_tasks(self) -> None:
        """Whatever names a task or a score must name one there is: a slip of the pen would go unnoticed."""
        there = ", ".join(self.tasks)
        for loss in self.distil:
            if loss.task not in self.tasks:
                raise Refusal(
                    f"{type(loss).__name__} compares '{loss.task}', which is not among the tasks {there}: "
                    "drop the loss or add the task."
                )
        for task in self.sampling.labels:
            if task not in self.tasks:
                raise Refusal(
                    f"`sampling.labels` names '{task}', which is not among the tasks {there}: correct it."
                )
        for floor in self.floors:
            task, _, metric = floor.partition("/")
            if task not in self.tasks or metric not in self.tasks[task].scores:
                scores = ", ".join(
                    f"{name}/{score}" for name, task in self.tasks.items() for score in task.scores
                )
                raise Refusal(f"`floors` names '{floor}', which is no score: choose of {scores}.")

    def _refuse_the_untaught(self) -> None:
        compared = {loss.task for loss in self.distil} if self.heard else set()
        for task in self.tasks:
            share = self.sampling.labels.get(task, 1.0) if self.sampling.labelled else 0.0
            if not share and task not in compared:
                raise Refusal(
                    f"Nobody teaches '{task}': it has no labels and no distillation loss, so raise its "
                    "share in --sampling.labels and --sampling.labelled, or give it a teacher and a loss."
                )

    @property
    def heard(self) -> Mapping[str, TeacherRecipe]:
        """The teachers that run: none where the weighting would not listen to them."""
        return self.teachers if self.weighting.teaches else {}

    def describe(self) -> dict[str, JSON]:
        """The whole experiment as plain JSON: MLflow's parameters, and what is hashed."""
        return {field.name: describe(getattr(self, field.name)) for field in fields(self)}

    def identity(self, data: str, teachers: Mapping[str, str]) -> str:
        """The run's identity, from the data set's fingerprint and the teachers' digests."""
        return digest({"experiment": self.describe(), "data": data, "teachers": dict(teachers)})
