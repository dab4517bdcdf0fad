"""No distillation: labels alone."""

from __future__ import annotations

from dataclasses import dataclass

from jointdistill.types import Term
from jointdistill.weighting.base import WeightingRecipe
from jointdistill.weighting.fixed import FixedWeights


@dataclass(frozen=True)
class LabelsOnly(WeightingRecipe):
    """L = Σ_i G_i: each task's supervised loss weighs 1 and teachers are not asked.

    The first baseline: what a method cannot do better than is not distillation's doing.
    """

    @property
    def teaches(self) -> bool:
        """Teachers need not run."""
        return False

    def build(self, terms: tuple[Term, ...]) -> FixedWeights:
        """Weight 0 on whatever a teacher says nevertheless."""
        return FixedWeights(terms, weights=(0.0,) * len(terms), gain=0.0, scale=None)
