"""Every term of an experiment for a batch: labels first, then each teacher by each loss of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jointdistill.distill.base import Distil, DistilRecipe
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher
from jointdistill.types import Batch, Losses, Prediction, Term


@torch.no_grad()
def ask(teachers: Mapping[str, Teacher], batch: Batch) -> dict[str, Prediction]:
    """Ask every teacher. What is not finite is blanked and marked, so that no loss ever meets it."""
    taught = {}
    for name, teacher in teachers.items():
        said = teacher(batch)
        sound = _sound([*said.answers.values(), *said.features.values()])
        if sound.is_cuda or not sound.all():  # asking a CUDA tensor would make the host wait: blank anyway
            said = Prediction(_blanked(said.answers, sound), _blanked(said.features, sound))
        taught[name] = said._replace(shared=None, sound=sound)
    return taught


def _sound(dense: Sequence[Tensor]) -> Tensor:
    """[B] whether all values of an image are finite."""
    # A sum is finite where all its values are, and reads them in one pass: a sixtieth of what asking each of
    # them costs, which was 5 % of a step.
    sums = torch.stack([values.sum((1, 2, 3), dtype=torch.float32) for values in dense])
    return sums.isfinite().all(0)


def _blanked(dense: Mapping[str, Tensor], sound: Tensor) -> dict[str, Tensor]:
    # Ones: a depth of 0 m has no logarithm, and a row that is not counted may hold anything finite.
    return {name: torch.where(sound.view(-1, 1, 1, 1), values, 1.0) for name, values in dense.items()}


class Objective(nn.Module):
    """The terms. It owns the parameters of the losses that have any (connectors)."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        labelled: Sequence[str],
        distil: Sequence[DistilRecipe],
        student: Mapping[str, int],
        teachers: Mapping[str, Teacher],
    ) -> None:
        """`labelled`: the tasks with labels; `student`: its feature layers and their channels."""
        super().__init__()
        self.tasks = dict(tasks)
        self.terms = tuple(Term("labels", task, "supervised") for task in labelled)
        self.comparisons = nn.ModuleList()
        for name, teacher in teachers.items():
            for recipe in distil:
                if recipe.task in teacher.card.tasks:
                    self.terms += (Term(name, recipe.task, recipe.loss),)
                    self.comparisons.append(recipe.build(student, teacher.channels))

    def forward(self, predicted: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> Losses:
        """All terms of a batch, in float32."""
        taught_terms = self.terms[len(self.terms) - len(self.comparisons) :]
        label_terms = self.terms[: len(self.terms) - len(self.comparisons)]
        values = [self._supervised(term.task, predicted, batch) for term in label_terms]
        present = [batch.present[term.task].to(batch.image.device) for term in label_terms]
        counts = [batch.count[term.task] for term in label_terms]
        for term, comparison in zip(taught_terms, self.comparisons, strict=True):
            assert isinstance(comparison, Distil)
            values.append(comparison(predicted, taught[term.source], batch))
            sound = taught[term.source].sound
            assert sound is not None
            present.append(sound)
            counts.append(batch.total)
        value, there = torch.stack(values), torch.stack(present)
        return Losses(
            terms=self.terms,
            value=torch.where(there, value, 0.0),
            present=there,
            count=torch.tensor([max(1, count) for count in counts]).to(value.device, non_blocking=True),
        )

    @torch.no_grad()
    def of_teachers(self, taught: Mapping[str, Prediction], batch: Batch) -> Tensor:
        """[K, B] each term's own teacher against the labels; NaN where there are none, or no sound answer."""
        nobody = batch.image.new_full((len(batch),), torch.nan)
        losses = {}
        for source, task in sorted({(term.source, term.task) for term in self.terms if term.taught}):
            loss, sound = self._supervised(task, taught[source], batch), taught[source].sound
            assert sound is not None
            losses[source, task] = torch.where(batch.present[task].to(loss.device) & sound, loss, nobody)
        return torch.stack([losses.get((term.source, term.task), nobody) for term in self.terms])

    def _supervised(self, task: str, predicted: Prediction, batch: Batch) -> Tensor:
        """[B] the loss of the leading rows that may carry labels; the others have none."""
        rows, answer = batch.labelled, predicted.answers[task]
        if not rows:
            # A rank without a labelled slot still owes its peers a gradient for every parameter: a zero.
            return answer.flatten(1).sum(1) * 0.0
        loss = self.tasks[task].loss(answer[:rows].float(), batch.truth[task][:rows])
        return F.pad(loss, (0, len(batch) - rows))
