"""A teacher that answers with the truth: the upper bound in tests and benches."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from jointdistill.recipe import describe, digest
from jointdistill.store.base import Store
from jointdistill.tasks.base import Task
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.teachers.base import Teacher, TeacherCard, TeacherRecipe
from jointdistill.types import UNKNOWN_LABEL, Batch, Prediction, Refusal

_CERTAIN = 8.0
"""The logit of the true class; the others have 0."""


@final
@dataclass(frozen=True)
class Oracle(TeacherRecipe):
    """Reads the truth that the batch carries, so it knows nothing of an image without a label."""

    noise: float = 0.0
    """How wrong it is: standard deviation of a factor e^x on a depth, and of the logits in units of their
    gap. The noise is a function of the image's key, so every view of every run sees the same."""

    def __post_init__(self) -> None:
        if self.noise < 0:
            raise Refusal(f"An oracle's noise of {self.noise} must be at least 0.")

    def build(self, tasks: Mapping[str, Task], store: Store) -> Teacher:
        """An oracle for every task."""
        segments = [task for task in tasks.values() if isinstance(task, Segmentation)]
        card = TeacherCard(
            tasks=tuple(tasks),
            classes=segments[0].classes if segments else (),
            units={name: task.unit for name, task in tasks.items()},
            digest=digest(describe(self)),
        )
        return OracleTeacher(card, tasks, self.noise).freeze()


@final
class OracleTeacher(Teacher):
    """See `Oracle`."""

    def __init__(self, card: TeacherCard, tasks: Mapping[str, Task], noise: float) -> None:
        super().__init__()
        self.card, self.noise = card, noise
        self._tasks = dict(tasks)
        self.channels = {}

    def forward(self, batch: Batch) -> Prediction:
        """The truth in an answer's form. Where it is unknown: one metre, or no class above another."""
        answers = {}
        for name, task in self._tasks.items():
            truth = batch.truth[name]
            noise = self.noise * _noise(batch.keys, (task.channels, *truth.shape[-2:])).to(truth.device)
            if truth.is_floating_point():
                answers[name] = truth.nan_to_num(1.0) * noise.exp()
            else:
                answers[name] = _CERTAIN * (_one_hot(truth, task.channels) + noise)
        return Prediction(answers, {})


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """[B, H, W] labels → [B, C, H, W]; all 0 where unknown."""
    raised = torch.where(labels == UNKNOWN_LABEL, 0, labels + 1)
    return F.one_hot(raised, classes + 1)[..., 1:].movedim(-1, 1).float()


def _noise(keys: tuple[str, ...], shape: tuple[int, ...]) -> Tensor:
    """[B, *shape] standard normal, each image's its own."""
    drawn = []
    for key in keys:
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7])
        drawn.append(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))
    return torch.stack(drawn)
