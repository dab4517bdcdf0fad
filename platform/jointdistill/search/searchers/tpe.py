"""Tree-structured Parzen estimators: draw where good trials lie densely, compared with bad ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import optuna

from jointdistill.search.searchers.base import Search, SearcherRecipe
from jointdistill.search.space import distributions
from jointdistill.types import Refusal


@dataclass(frozen=True)
class Tpe(SearcherRecipe):
    """TPE (Bergstra et al., NeurIPS 2011) as Optuna has it; with several objectives its multi-objective form
    (Ozaki et al., JAIR 2022)."""

    listens: ClassVar[bool] = True

    startup: int = 8
    """Random trials before it begins to think."""

    def __post_init__(self) -> None:
        if self.startup < 1:
            raise Refusal(f"--searcher.startup {self.startup}: give at least 1.")

    def build(self, search: Search) -> Any:
        """Trials that run at the same time are taken for bad ones, so that they lie apart."""
        from ray.tune.search import ConcurrencyLimiter
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=self.startup,
            multivariate=True,
            constant_liar=True,
            # Not the first draws over again where a sweep goes on.
            seed=search.seed + len(search.known),
        )

        class AtTheEnd(OptunaSearch):  # type: ignore[misc]  # ray is read untyped
            """Hears of finished trials only: nothing is pruned, and at a rung a score may be missing."""

            def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
                """See `Searcher`."""

        one = search.objectives[0]
        several = len(search.objectives) > 1
        searcher = AtTheEnd(
            space=distributions(search.space),
            metric=[each.name for each in search.objectives] if several else one.name,
            mode=[each.mode for each in search.objectives] if several else one.mode,
            sampler=sampler,
            points_to_evaluate=[dict(point) for point in search.known],
        )
        return ConcurrencyLimiter(searcher, max_concurrent=search.at_once)
