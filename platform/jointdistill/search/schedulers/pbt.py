"""Population-based training: the worst of a population take over a good one's student, and turn its knobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from jointdistill.search.schedulers.base import Race, SchedulerRecipe
from jointdistill.search.schedulers.population import inside, rounds, steady
from jointdistill.search.space import Choice, LogUniform, Range, Whole
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Pbt(SchedulerRecipe):
    """PBT (Jaderberg et al., 1711.09846), in rounds: after each, the worst `quantile` go on from a snapshot
    of one of the best, with its student, optimiser, weighting and trajectory, and with its knobs
    drawn anew (`resample`) or else times 0.8 or 1.2."""

    gathers: ClassVar[bool] = True
    clones: ClassVar[bool] = True

    every: int = 0
    """Steps of a round; 0: an eighth of the run."""
    quantile: float = 0.25
    """Share of the population that takes over, and is taken over from."""
    resample: float = 0.25
    """Probability of drawing a knob anew."""

    def __post_init__(self) -> None:
        if self.every < 0 or not 0 < self.quantile <= 0.5 or not 0 <= self.resample <= 1:
            raise Refusal(
                "--scheduler.every must be at least 0, --scheduler.quantile above 0 and at most 0.5, and "
                "--scheduler.resample in 0..1."
            )

    def rungs(self, steps: int) -> tuple[int, ...]:
        """The ends of the rounds."""
        return rounds(steps, self.every)

    def expected_steps(self, steps: int, trials: int) -> float:
        """Nobody stops early."""
        return float(steps * trials)

    def build(self, race: Race) -> Any:
        """See `SchedulerRecipe`."""
        from ray.tune.schedulers import PopulationBasedTraining

        return steady(PopulationBasedTraining, race.seed)(
            time_attr="step",
            metric=race.objective.name,
            mode=race.objective.mode,
            perturbation_interval=self.rungs(race.steps)[0],
            hyperparam_mutations={knob: _mutated(values) for knob, values in race.space.items()},
            custom_explore_fn=partial(inside, race.space),
            quantile_fraction=self.quantile,
            resample_probability=self.resample,
            require_attrs=False,  # a trial that was refused has no score
            log_config=False,
            synch=True,
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
