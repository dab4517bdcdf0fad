"""Scores of a network, or of a teacher, pooled exactly over all images and ranks."""

from __future__ import annotations

import warnings
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
    metrics = {name: task.metrics().to(ranks.device) for name, task in tasks.items()}
    labels = torch.zeros(len(tasks), dtype=torch.float64, device=ranks.device)
    for batch in batches:
        here = batch.to(ranks.device)
        said = answer(here)
        for place, name in enumerate(tasks):
            rows = batch.present[name].nonzero().flatten()
            if len(rows):
                metrics[name].update(said.answers[name][rows].float(), here.truth[name][rows])
                labels[place] += len(rows)
    labels = ranks.sum(labels)
    scores: Scores = {}
    for place, name in enumerate(tasks):
        if labels[place]:
            with warnings.catch_warnings():
                # A rank without a labelled image has nothing to add to the others' sums: no mistake.
                warnings.filterwarnings("ignore", "The ``compute`` method of metric", UserWarning)
                computed = metrics[name].compute()
            scores |= {f"{name}/{metric}": float(value) for metric, value in computed.items()}
    return scores


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
