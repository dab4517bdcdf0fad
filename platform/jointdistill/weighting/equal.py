"""Every teacher's term weighs the same, once the losses are of one size."""

from __future__ import annotations

from dataclasses import dataclass

from jointdistill.types import Refusal, Term
from jointdistill.weighting.base import WeightingRecipe
from jointdistill.weighting.fixed import FixedWeights
from jointdistill.weighting.scale import Scale


@dataclass(frozen=True)
class Equal(WeightingRecipe):
    """L = Σ_i G_i + gain · Σ_k D_k / n_k, with n_k the running size of the distillation loss D_k.

    KD4MTL (2007.06889) weighs its teachers statically; PHI-S (2410.01680) standardises each teacher and
    then gives all of them 1. With the gain swept this is the baseline to beat.
    """

    gain: float = 1.0
    """How much distillation against labels; λ in the formulas."""

    def __post_init__(self) -> None:
        if not 0 <= self.gain < float("inf"):
            raise Refusal(f"--weighting.gain {self.gain} is no weight: give a number of at least 0.")

    def build(self, terms: tuple[Term, ...]) -> FixedWeights:
        """The same weight for each term."""
        return FixedWeights(terms, weights=(1.0,) * len(terms), gain=self.gain, scale=Scale(len(terms)))
