"""Scores and losses of a network, or of a teacher, pooled exactly over all images and ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from jointdistill.engine.ranks import Ranks
from jointdistill.tasks.base import Task
from jointdistill.types import Batch, Prediction

Scores = dict[str, float]
"""`task/metric` → value."""


@dataclass(frozen=True)
class Report:
    """How good answers are."""

    scores: Scores
    losses: dict[str, float]
    """Task → the mean supervised loss over the labelled images."""


@torch.no_grad()
def evaluate(
    answer: Callable[[Batch], Prediction], batches: Iterable[Batch], tasks: Mapping[str, Task], ranks: Ranks
) -> Report:
    """Metrics and loss of every task; a task without any label in the batches is left out."""
    mine: dict[str, Tensor] = {}
    for batch in batches:
        here = batch.to(ranks.device)
        said = answer(here)
        for name, task in tasks.items():
            rows = batch.present[name].nonzero().flatten()
            if len(rows):
                answers, truths = said.answers[name][rows].float(), here.truth[name][rows]
                losses: Tensor = task.loss(answers, truths).double()
                loss = {"sum": losses.sum(), "images": torch.ones_like(losses).sum()}
                _add(
                    mine, _named(f"{name}/loss", loss) | _named(f"{name}/tally", task.tally(answers, truths))
                )
    pooled: dict[str, Tensor] = {}
    for sums, _ in ranks.gather((mine, {})):  # a rank without a labelled image has none
        _add(pooled, sums)
    report = Report({}, {})
    for name, task in tasks.items():
        if loss := _under(f"{name}/loss", pooled):
            report.losses[name] = float(loss["sum"] / loss["images"])
            for metric, value in task.score(_under(f"{name}/tally", pooled)).items():
                report.scores[f"{name}/{metric}"] = float(value)
    return report


def _add(sums: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    for key, value in more.items():
        sums[key] = sums[key] + value if key in sums else value


def _named(above: str, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{above}/{key}": value for key, value in sums.items()}


def _under(above: str, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{above}/"): v for key, v in sums.items() if key.startswith(f"{above}/")}
