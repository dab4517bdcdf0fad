"""What a sweep's trials are ranked by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from jointdistill.experiment import Experiment
from jointdistill.student.champion import changes, delta_m
from jointdistill.tasks.base import Task
from jointdistill.types import Refusal

DELTA_M = "delta_m"
"""Δm against the reference's scores, over all tasks."""
AT_THE_END = {"parameters": False, "inference_images_per_s": True}
"""What is known of a finished student only → whether more is better."""


@dataclass(frozen=True)
class Objective:
    """One number, and which way it is to go."""

    name: str
    """`delta_m`, `task/metric`, or of a finished student `parameters` or `inference_images_per_s`."""
    more_is_better: bool

    @property
    def only_at_the_end(self) -> bool:
        """Whether nothing is known of it before a student is finished."""
        return self.name in AT_THE_END

    @property
    def mode(self) -> Literal["max", "min"]:
        """As Tune says it."""
        return "max" if self.more_is_better else "min"

    def better(self, one: float, other: float) -> bool:
        """Whether one value beats the other; what is no number beats nothing."""
        if math.isnan(one) or math.isnan(other):
            return math.isnan(other) and not math.isnan(one)
        return one > other if self.more_is_better else one < other


def objectives_of(names: Sequence[str], experiment: Experiment) -> tuple[Objective, ...]:
    """Raises `Refusal` for a name that no run of the experiment logs."""
    logged = {
        DELTA_M: True,
        **{
            f"{name}/{score}": more_is_better
            for name, task in experiment.tasks.items()
            for score, more_is_better in task.scores.items()
        },
        **AT_THE_END,
    }
    if not names:
        raise Refusal(f"A sweep needs an objective: choose of {', '.join(logged)}.")
    for name in names:
        if name not in logged:
            raise Refusal(f"Nobody logs the objective '{name}': choose of {', '.join(logged)}.")
    return tuple(Objective(name, logged[name]) for name in names)


def values(
    tasks: Mapping[str, Task], scores: Mapping[str, float], reference: Mapping[str, float]
) -> dict[str, float]:
    """Every objective that the scores tell: themselves, and Δm where the reference knows each headline."""
    gain = delta_m(changes(tasks, scores, reference))
    return {**scores, **({} if math.isnan(gain) else {DELTA_M: gain})}


def refuse_odd_reference(tasks: Mapping[str, Task], reference: Mapping[str, float]) -> None:
    """Raises `Refusal` where what Δm is to compare with is no score, or nothing to divide by."""
    there = [f"{name}/{score}" for name, task in tasks.items() for score in task.scores]
    for name, score in reference.items():
        if name not in there:
            near = get_close_matches(name, there, 1)
            meant = f"did you mean '{near[0]}'?" if near else f"choose of {', '.join(there)}."
            raise Refusal(f"The sweep's `reference` names '{name}', which is no score: {meant}")
        if not math.isfinite(score) or not score:
            raise Refusal(
                f"The sweep's `reference` gives {name} {score}, and Δm divides by it: give another "
                "number, or leave it out."
            )


def refuse_no_reference(tasks: Mapping[str, Task], reference: Mapping[str, float]) -> None:
    """Raises `Refusal` where Δm has nothing to compare a task with."""
    for name, task in tasks.items():
        headline = f"{name}/{next(iter(task.scores))}"
        if headline not in reference:
            raise Refusal(
                f"Δm compares {headline} with a teacher's, and no teacher says its own on this data and in "
                "this range: give the sweep a `reference`, or rank by another objective."
            )
