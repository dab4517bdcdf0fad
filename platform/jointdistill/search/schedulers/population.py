"""What population-based methods share: rounds, after each of which the worst take over from the best."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from jointdistill.search.schedulers.base import Race, SchedulerRecipe
from jointdistill.search.space import Choice, Label, Point, Space
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Population(SchedulerRecipe):
    """A population of one size, whose members turn their knobs."""

    gathers: ClassVar[bool] = True
    clones: ClassVar[bool] = True

    every: int = 0
    """Steps of a round; 0: an eighth of the run."""
    quantile: float = 0.25
    """Share of the population that takes over, and is taken over from."""

    def __post_init__(self) -> None:
        if self.every < 0 or not 0 < self.quantile <= 0.5:
            raise Refusal(
                "--scheduler.every must be at least 0, and --scheduler.quantile above 0 and at most 0.5."
            )

    def rungs(self, steps: int) -> tuple[int, ...]:
        """The ends of the rounds."""
        each = self.every or max(1, round(steps / 8))
        return (*range(each, steps, each), steps)

    def told(self, race: Race) -> dict[str, Any]:
        """What all of Tune's population-based schedulers are told."""
        return {
            "time_attr": "step",
            "metric": race.objective.name,
            "mode": race.objective.mode,
            "perturbation_interval": self.rungs(race.steps)[0],
            "custom_explore_fn": partial(_into_ranges, race.space),
            "quantile_fraction": self.quantile,
            "require_attrs": False,  # a trial that was refused has no score
            "log_config": False,
            "synch": True,
        }


def _into_ranges(space: Space, point: Point) -> Point:
    """The point with every number moved into its range, since a perturbation may leave it."""
    return {knob: _inside(space, knob, label) for knob, label in point.items()}


def steady(scheduler: type[Any], seed: int) -> type[Any]:
    """One of Tune's population-based schedulers, in rounds that are the same again and wait for no one lost.

    Its draws depend on the seed and the round alone, so a sweep that goes on after its driver died takes the
    same decisions again. Tune's draw from the generators that everybody shares, wait for ever for a member
    that has failed, and let one without a score run ahead.
    """

    class Steady(scheduler):  # type: ignore[misc]
        def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
            result = {self._metric: -self._metric_op * math.inf, **result}
            with _drawing_from(seed + int(result["step"])):
                return str(super().on_trial_result(Living(tune_controller), trial, result))

        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            chosen = super().choose_trial_to_run(tune_controller)
            going = Living(tune_controller).get_trials()
            if chosen is None and going and all(trial.status == trial.PAUSED for trial in going):
                # Who was waited for has failed: the others are the round.
                last = max(going, key=lambda trial: self._trial_state[trial].last_train_time)
                self.on_trial_result(tune_controller, last, dict(self._trial_state[last].last_result))
                chosen = super().choose_trial_to_run(tune_controller)
            return chosen

    Steady.__name__ = scheduler.__name__
    return Steady


class Living:
    """Tune's controller as a scheduler should see it: without the trials that have ended."""

    def __init__(self, controller: Any) -> None:
        self._controller = controller

    def get_trials(self) -> list[Any]:
        """Those that go on."""
        return [trial for trial in self._controller.get_trials() if not trial.is_finished()]

    def get_live_trials(self) -> list[Any]:
        """The same."""
        return self.get_trials()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._controller, name)


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # Tune draws from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PB2's process has little to go by in its first rounds
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
