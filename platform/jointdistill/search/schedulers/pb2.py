"""Population-based bandits: PBT that draws new knobs where a model of all rounds expects the most."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from jointdistill.search.schedulers.base import Race, SchedulerRecipe
from jointdistill.search.schedulers.population import inside, rounds, steady
from jointdistill.search.space import LogUniform, Uniform
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Pb2(SchedulerRecipe):
    """PB2 (Parker-Holder et al., NeurIPS 2020, 2002.02518): rounds as in PBT, with knobs from a Gaussian
    process over knobs, time and gain. For continuous knobs, and for small populations."""

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
        return rounds(steps, self.every)

    def expected_steps(self, steps: int, trials: int) -> float:
        """Nobody stops early."""
        return float(steps * trials)

    def build(self, race: Race) -> Any:
        """See `SchedulerRecipe`."""
        from ray.tune.schedulers.pb2 import PB2

        for knob, values in race.space.items():
            if not isinstance(values, Uniform | LogUniform):
                raise Refusal(
                    f"--scheduler pb2 models numbers, and '{knob}' is {type(values).__name__}: take it out "
                    "of the space, or take --scheduler pbt."
                )

        class InOrder(PB2):  # type: ignore[misc]  # ray is read untyped
            """Reads its observations in one order, however they came in: the last digit depends on it. What
            had no score is none."""

            data: Any

            def _get_new_config(self, trial: Any, trial_to_clone: Any) -> Any:
                scored = self.data[np.isfinite(self.data["Reward"])]
                self.data = scored.sort_values(["Time", "Trial"], ignore_index=True)
                return super()._get_new_config(trial, trial_to_clone)

        return steady(InOrder, race.seed)(
            time_attr="step",
            metric=race.objective.name,
            mode=race.objective.mode,
            perturbation_interval=self.rungs(race.steps)[0],
            hyperparam_bounds={knob: [*values.ends] for knob, values in race.space.items()},
            custom_explore_fn=partial(inside, race.space),
            quantile_fraction=self.quantile,
            require_attrs=False,
            log_config=False,
            synch=True,
        )
