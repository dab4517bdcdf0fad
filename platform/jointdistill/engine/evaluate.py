"""Scores of a network, or of a teacher, pooled exactly over all images and ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from jointdistill.engine.ranks import Ranks
from jointdistill.tasks.base import Task
from jointdistill.types import Batch, Prediction

Scores = dict[str, float]
"""`task/metric` → value."""


@torch.no_grad()
def evaluate(
    answer: Callable[[Batch], Prediction], batches: Iterable[Batch], tasks: Mapping[str, Task], ranks: Ranks
) -> Scores:
    """The metrics of every task; a task without any label in the batches is left out."""
    mine: dict[str, Tensor] = {}
    for batch in batches:
        here = batch.to(ranks.device)
        said = answer(here)
        for name, task in tasks.items():
            rows = batch.present[name].nonzero().flatten()
            if len(rows):
                tally = task.tally(said.answers[name][rows].float(), here.truth[name][rows])
                _add(mine, {f"{name}/{key}": value for key, value in tally.items()})
    pooled: dict[str, Tensor] = {}
    for tallies, _ in ranks.gather((mine, {})):  # a rank without a labelled image has none
        _add(pooled, tallies)
    scores: Scores = {}
    for name, task in tasks.items():
        tally = {key.removeprefix(f"{name}/"): v for key, v in pooled.items() if key.startswith(f"{name}/")}
        if tally:
            scores |= {f"{name}/{metric}": float(value) for metric, value in task.score(tally).items()}
    return scores


def _add(sums: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    for key, value in more.items():
        sums[key] = sums[key] + value if key in sums else value


@torch.no_grad()
def supervised_losses(
    answer: Callable[[Batch], Prediction], batches: Iterable[Batch], tasks: Mapping[str, Task], ranks: Ranks
) -> dict[str, float]:
    """Task → the mean supervised loss over the labelled images; a task without any is left out."""
    sums = torch.zeros(len(tasks), 2, dtype=torch.float64, device=ranks.device)
    for batch in batches:
        here = batch.to(ranks.device)
        said = answer(here)
        for place, (name, task) in enumerate(tasks.items()):
            rows = batch.present[name].nonzero().flatten()
            if len(rows):
                losses: Tensor = task.loss(said.answers[name][rows].float(), here.truth[name][rows])
                sums[place] += torch.stack([losses.double().sum(), losses.new_tensor(len(rows)).double()])
    return {
        name: float(total / count)
        for name, (total, count) in zip(tasks, ranks.sum(sums), strict=True)
        if count
    }
