"""What population-based methods share: rounds, after each of which the worst take over from the best."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from jointdistill.search.space import Choice, Label, Point, Space


def rounds(steps: int, every: int) -> tuple[int, ...]:
    """The steps at which the population is compared, and the last one."""
    each = every or max(1, round(steps / 8))
    return (*range(each, steps, each), steps)


def inside(space: Space, point: Point) -> Point:
    """The point with every number moved into its range, since a perturbation may leave it."""
    return {knob: _inside(space, knob, label) for knob, label in point.items()}


def repeatable(scheduler: type[Any], seed: int) -> type[Any]:
    """The scheduler, with the draws of a round depending on the seed and the round alone.

    So a sweep that goes on after its driver died takes the same decisions again, and all that was computed
    since still fits. Tune's schedulers draw from the generators that everybody shares.
    """

    class Repeatable(scheduler):  # type: ignore[misc]
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            with _drawing_from(seed + int(result.get("step", 0))):
                return str(super().on_trial_result(tune_controller, trial, result))

    Repeatable.__name__ = scheduler.__name__
    return Repeatable


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # Tune draws from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _inside(space: Space, knob: str, label: Label) -> Label:
    values = space.get(knob)
    if values is None or isinstance(values, Choice) or not isinstance(label, int | float):
        return label
    low, high = values.ends
    assert isinstance(low, int | float) and isinstance(high, int | float)
    return min(max(label, low), high)
