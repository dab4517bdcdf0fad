"""Who says whether an answer is right: a label where the run may see it, else the task's first teacher.

A student that judged unlabelled images by its own confidence would feed itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from jointdistill.tasks.base import Task
from jointdistill.tasks.geometry import at_points, nearest
from jointdistill.types import Batch, Prediction


class Verdict(NamedTuple):
    """What is held to be true of a task at m points of each view."""

    truth: Tensor
    """[B, …, m] in the form of the task's truth."""
    judged: Tensor
    """[B] bool: somebody can tell."""

    def first(self, points: int) -> Verdict:
        """The same of the first points only."""
        return Verdict(self.truth[..., :points], self.judged)

    def error(self, task: Task, columns: Mapping[str, Tensor]) -> Tensor:
        """[B, m] how wrong record columns are; NaN where nobody can tell."""
        return task.error(columns, self.truth).masked_fill(~self.judged[:, None], torch.nan)


class Judge:
    """Knows which images are labelled, so that each is judged by the same source at every visit."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        labelled: Mapping[str, frozenset[int]],
        images: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.tasks = dict(tasks)
        self._labelled = {}
        self._teachable = set()
        for name in tasks:
            rows = torch.zeros(images, dtype=torch.bool)
            rows[torch.tensor(sorted(labelled.get(name, ())), dtype=torch.int64)] = True
            self._labelled[name] = rows.to(device)
            if not bool(rows.all()):
                self._teachable.add(name)

    def verdict(
        self, name: str, taught: Mapping[str, Prediction], batch: Batch, points: Tensor
    ) -> Verdict | None:
        """What is true of task `name` at points [B, m, 2] of the views; None where there is no source.

        1. The batch carries the image's label: the label.
        2. The image has a label that this batch does not carry: nobody, this time.
        3. The image has no label: the task's first teacher, or nobody where there is none, or where its
           answer is not sound.
        """
        label = nearest(batch.truth[name], points) if name in batch.truth else None
        teacher = self._teacher(name, taught)
        opinion = None if teacher is None else self._opinion(name, teacher, points)
        truth = opinion if label is None else label
        if truth is None:
            return None
        nobody = torch.zeros(len(batch), dtype=torch.bool, device=points.device)
        present = batch.present.get(name, nobody)
        unlabelled = nobody if teacher is None else ~self._labelled[name][batch.rows_on(points.device)]
        if teacher is not None and teacher.sound is not None:
            unlabelled = unlabelled & teacher.sound
        if label is not None and opinion is not None:
            truth = torch.where(present.view(-1, *[1] * (label.ndim - 1)), label, opinion)
        return Verdict(truth, present | unlabelled)

    def _teacher(self, name: str, taught: Mapping[str, Prediction]) -> Prediction | None:
        """The task's first teacher, where one may be needed."""
        if name not in self._teachable:
            return None
        return next((teacher for teacher in taught.values() if name in teacher.answers), None)

    def _opinion(self, name: str, teacher: Prediction, points: Tensor) -> Tensor:
        """[B, …, m] what a teacher holds true of a task at the points."""
        return self.tasks[name].as_truth(at_points(teacher.answers[name].detach(), points).mT)
