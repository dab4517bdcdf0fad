"""Population-based bandits: PBT that draws new knobs where a model of all rounds expects the most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jointdistill.search.schedulers.base import Race
from jointdistill.search.schedulers.population import Population, steady
from jointdistill.search.space import LogUniform, Uniform
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Pb2(Population):
    """PB2 (Parker-Holder et al., NeurIPS 2020, 2002.02518): rounds as in PBT, with knobs from a Gaussian
    process over knobs, time and gain. For continuous knobs, and for small populations."""

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
            **self.told(race), hyperparam_bounds={knob: [*values.ends] for knob, values in race.space.items()}
        )
