"""Which version of a model bears the alias `champion`. One rule for students and teachers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from jointdistill.nets.saved import Model
from jointdistill.tasks.base import Task

ALIAS = "champion"

TOLERANCE = 0.02
"""Relative change by which a task's headline metric may get worse. Two seeds of one experiment differ by more
(docs/method.md): the alias says which version scores better, and not that its recipe is better."""


class Verdict(NamedTuple):
    """Whether the alias moves, and the sentence that says why."""

    champion: bool
    reason: str


def judge(candidate: Model, champion: Model | None) -> Verdict:
    """The alias moves iff both were trained on the same data and scored on the same pixels, no task got worse
    by more than `TOLERANCE`, and Δm is above 0. A first version is champion."""
    if champion is None:
        return Verdict(True, "It is the first version.")
    if candidate.digest == champion.digest:
        return Verdict(True, "It has the champion's weights.")
    if candidate.data != champion.data or _counted(candidate) != _counted(champion):
        return Verdict(
            False,
            "The champion learnt from other data, other tasks or in another range: scores do not compare.",
        )
    change = changes(champion.tasks, candidate.scores, champion.scores)
    gain = delta_m(change)
    said = f"Δm against the champion is {gain:+.2%}"
    for task, by in change.items():
        if math.isnan(by):
            return Verdict(False, f"One of the two has no score for {task}.")
        if by < -TOLERANCE:
            return Verdict(False, f"{said}, but {task} got worse by {-by:.1%}.")
    return Verdict(gain > 0, f"{said}.")


def _counted(model: Model) -> dict[str, tuple[float, ...]]:
    """Task → which of its pixels a score counts."""
    return {name: task.counted for name, task in model.tasks.items()}


def changes(
    tasks: Mapping[str, Task], scores: Mapping[str, float], reference: Mapping[str, float]
) -> dict[str, float]:
    """Task → relative change of its headline metric, above 0 where `scores` are better; NaN where one of the
    two lacks it."""
    relative = {}
    for name, task in tasks.items():
        metric, more_is_better = next(iter(task.scores.items()))
        new, old = (said.get(f"{name}/{metric}", math.nan) for said in (scores, reference))
        sign = 1 if more_is_better else -1
        relative[name] = 0.0 if new == old else sign * (new - old) / max(abs(old), 1e-12)
    return relative


def delta_m(change: Mapping[str, float]) -> float:
    """Δm: the mean relative change over tasks (Maninis et al., CVPR 2019, eq. 4)."""
    return sum(change.values()) / len(change)
