"""Who teaches what: terms make up pairs (teacher, task), pairs make up tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from jointdistill.types import Term


@dataclass(frozen=True)
class Pairs:
    """The P pairs and N taught tasks of T taught terms among K, in alphabetical order.

    Sorted, so that two rows of losses swapped swap their weights and change nothing else.
    """

    names: tuple[tuple[str, str], ...]
    """[P] teacher and task."""
    tasks: tuple[str, ...]
    """[N] tasks with a teacher."""
    taught: Tensor
    """[T] rows of the losses that a teacher stands behind."""
    pair_of: Tensor
    """[T] the pair of each of them."""
    task_of: Tensor
    """[P] the task of each pair."""

    @classmethod
    def of(cls, terms: tuple[Term, ...]) -> Self:
        """The pairs of some terms."""
        taught = [row for row, term in enumerate(terms) if term.taught]
        names = tuple(sorted({(terms[row].source, terms[row].task) for row in taught}))
        tasks = tuple(sorted({task for _, task in names}))
        return cls(
            names=names,
            tasks=tasks,
            taught=torch.tensor(taught, dtype=torch.int64),
            pair_of=torch.tensor(
                [names.index((terms[row].source, terms[row].task)) for row in taught], dtype=torch.int64
            ),
            task_of=torch.tensor([tasks.index(task) for _, task in names], dtype=torch.int64),
        )

    def by_pair(self, values: Tensor) -> Tensor:
        """[P] means over each pair's terms of values [K]; NaN are left out."""
        return _means(values[self.taught], self.pair_of, len(self.names))

    def by_task(self, values: Tensor) -> Tensor:
        """[N] means over each task's teachers of values [P]; NaN are left out."""
        return _means(values, self.task_of, len(self.tasks))

    def least_by_task(self, values: Tensor) -> Tensor:
        """[N] the least of values [P] over each task's teachers, ∞ where all are NaN."""
        least = torch.full((len(self.tasks),), torch.inf, dtype=values.dtype)
        return least.scatter_reduce(0, self.task_of, values.nan_to_num(nan=torch.inf), "amin")

    def softmax_by_task(self, scores: Tensor) -> Tensor:
        """[P] softmax of finite scores [P] among each task's teachers."""
        greatest = -self.least_by_task(-scores)
        powers = (scores - greatest[self.task_of]).exp()
        return powers / powers.new_zeros(len(self.tasks)).index_add(0, self.task_of, powers)[self.task_of]

    @property
    def terms_of_pair(self) -> Tensor:
        """[P] how many losses each pair has."""
        return torch.bincount(self.pair_of, minlength=len(self.names))

    @property
    def teachers_of_task(self) -> Tensor:
        """[N] how many teachers each task has."""
        return torch.bincount(self.task_of, minlength=len(self.tasks))


def _means(values: Tensor, group_of: Tensor, groups: int) -> Tensor:
    known = values.isfinite()
    total = values.new_zeros(groups).index_add(0, group_of, values.where(known, 0.0))
    return total / values.new_zeros(groups).index_add(0, group_of, known.to(values.dtype))
