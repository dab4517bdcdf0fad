"""Population-based training: the worst of a population take over a good one's student, and turn its knobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jointdistill.search.schedulers.base import Race
from jointdistill.search.schedulers.population import Population, steady
from jointdistill.search.space import Choice, LogUniform, Range, Whole
from jointdistill.types import Refusal

_DRAWS = 20
"""After so many draws a knob cannot be turned: its list has one entry."""


@dataclass(frozen=True)
class Pbt(Population):
    """PBT (Jaderberg et al., 1711.09846), in rounds: after each, the worst `quantile` go on from a snapshot
    of one of the best, with its student, optimiser, weighting and trajectory, and with its knobs drawn
    anew (`resample`) or else times 0.8 or 1.2; of a list, the entry before or after."""

    resample: float = 0.25
    """Probability of drawing a knob anew."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.resample <= 1:
            raise Refusal(f"--scheduler.resample {self.resample} is no probability: give one in 0..1.")

    def build(self, race: Race) -> Any:
        """See `SchedulerRecipe`."""
        from ray.tune.schedulers import PopulationBasedTraining

        class Turning(PopulationBasedTraining):  # type: ignore[misc]
            """A clone with its donor's very knobs would be its donor again. At the end of a range, and of a
            list half of the time, Tune's draw leaves them where they are."""

            def _get_new_config(self, trial: Any, trial_to_clone: Any) -> Any:
                donor = trial_to_clone.config
                for _ in range(_DRAWS):
                    config, said = super()._get_new_config(trial, trial_to_clone)
                    if any(config[knob] != donor[knob] for knob in race.space):
                        break
                return config, said

        return steady(Turning, race.seed)(
            **self.told(race),
            hyperparam_mutations={knob: _mutated(values) for knob, values in race.space.items()},
            resample_probability=self.resample,
        )


def _mutated(values: Range) -> Any:
    """How Tune says it; of a list it takes a neighbour."""
    from ray import tune

    if isinstance(values, Choice):
        return list(values.ends)
    low, high = values.ends
    if isinstance(values, Whole):
        return tune.randint(low, high + 1)  # type: ignore[operator]
    return tune.loguniform(low, high) if isinstance(values, LogUniform) else tune.uniform(low, high)
