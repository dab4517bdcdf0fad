"""The contract of a teacher: a frozen network, or anything that answers like one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, final

from torch import nn

from jointdistill.recipe import Recipe
from jointdistill.store.base import Store
from jointdistill.tasks.base import Task
from jointdistill.types import Batch, Prediction


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
    """Fingerprint of the data set it was trained on."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """`task/metric` → validation score where it was trained."""
    digest: str = ""
    """sha256 of weights and configuration; the teacher's part of a run's identity."""


class Teacher(nn.Module, ABC):
    """A frozen source of answers. It stands outside the student and outside its snapshot."""

    card: TeacherCard
    channels: Mapping[str, int]
    """Feature layer → channels; empty where it shows no features."""

    @abstractmethod
    def forward(self, batch: Batch) -> Prediction:
        """Answers for the views of a batch; tasks it cannot do are left out."""

    @final
    def freeze(self) -> Self:
        """No gradients, evaluation mode."""
        return self.requires_grad_(False).eval()


@dataclass(frozen=True)
class TeacherRecipe(Recipe, ABC):
    """Where a teacher comes from."""

    @abstractmethod
    def build(self, tasks: Mapping[str, Task], store: Store) -> Teacher:
        """The frozen teacher. `store` holds what weights were pinned for the run.

        Raises `Refusal` where it is missing, damaged, or of other classes or units.
        """
