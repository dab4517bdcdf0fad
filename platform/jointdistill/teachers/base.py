"""The contract of a teacher: a frozen network, or anything that answers like one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Self, final

from torch import nn

from jointdistill.nets.way import Moment
from jointdistill.recipe import Recipe
from jointdistill.store.base import Store
from jointdistill.tasks.base import Task
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import Batch, Prediction, Refusal


@dataclass(frozen=True)
class TeacherCard:
    """What a teacher says of itself; checked before it teaches."""

    tasks: tuple[str, ...]
    classes: tuple[str, ...] = ()
    """Class names in the order of its logits, where it segments."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Task → unit of the answer (`metre`)."""
    height: int = 0
    width: int = 0
    """The resolution it was trained at."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    """The normalisation the network itself applies to images in 0..1."""
    data: str = ""
    """Fingerprint of the data set it was trained on; empty: unknown, and the scores are taken on trust."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """`task/metric` → validation score where it was trained: what Δm compares with."""
    digest: str = ""
    """sha256 of weights and configuration; the teacher's part of a run's identity."""

    def check(self, name: str, tasks: Mapping[str, Task]) -> None:
        """Raises `Refusal`, naming the teacher `name`, where it does not fit what it is asked to teach."""
        for task in self.tasks:
            if task not in tasks:
                raise Refusal(
                    f"The teacher '{name}' teaches '{task}', which is not among the tasks "
                    f"{', '.join(tasks)}: leave it out of its card, or add the task."
                )
            unit = self.units.get(task, "")
            if unit != tasks[task].unit:
                raise Refusal(
                    f"The teacher '{name}' gives {task} in '{unit}', not in '{tasks[task].unit}': "
                    "convert its answer and write the unit in its card."
                )
            if isinstance(asked := tasks[task], Segmentation):
                self._check_classes(name, asked.classes)

    def _check_classes(self, name: str, asked: tuple[str, ...]) -> None:
        for place, (mine, data) in enumerate(zip_longest(self.classes, asked)):
            if mine != data:
                raise Refusal(
                    f"The teacher '{name}' has other classes than the data set: class {place} is "
                    f"{_quoted(mine)} for it and {_quoted(data)} in the data's card, so "
                    "train one on these classes."
                )


class Teacher(nn.Module, ABC):
    """A frozen source of answers. It stands outside the student and outside its snapshot."""

    card: TeacherCard
    channels: Mapping[str, int]
    """Feature layer → channels; empty where it shows no features."""
    way: tuple[Moment, ...] = ()
    """Moments of its training, earliest first; only a teacher that was trained here has any."""

    @abstractmethod
    def forward(self, batch: Batch) -> Prediction:
        """Answers for the views of a batch; tasks it cannot do are left out."""

    @final
    def freeze(self) -> Self:
        """No gradients, evaluation mode."""
        return self.requires_grad_(False).eval()

    def at(self, moment: Moment) -> Teacher:
        """The teacher as it was at a moment of its way."""
        raise Refusal(f"{type(self).__name__} kept no anchors, so step {moment.step} cannot be replayed.")


@dataclass(frozen=True)
class TeacherRecipe(Recipe, ABC):
    """Where a teacher comes from."""

    def pin(self, store: Store, tracking: str) -> Self:
        """Done once, by the driver, before the launch: put what `build` reads into the run's store, and
        return the recipe with its digest filled in. A teacher without files is its own pin.

        `tracking` is MLflow's address. Raises `Refusal` where the teacher cannot be had.
        """
        return self

    @abstractmethod
    def build(self, tasks: Mapping[str, Task], store: Store) -> Teacher:
        """The frozen teacher, on any worker. `store` holds what was pinned for the run.

        Raises `Refusal` where it is missing, damaged, or of other classes or units.
        """


def _quoted(name: str | None) -> str:
    return "missing" if name is None else f"'{name}'"
