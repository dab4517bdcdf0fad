"""Weights fixed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from jointdistill.types import Refusal, Term
from jointdistill.weighting.base import WeightingRecipe
from jointdistill.weighting.fixed import FixedWeights
from jointdistill.weighting.scale import Scale


@dataclass(frozen=True)
class Static(WeightingRecipe):
    """L = Σ_i G_i + Σ_ik w_ik · D_ik / n_ik, with w_ik given and n_ik the running size of D_ik, or 1.

    KD4MTL (2007.06889) fixes w = 1, 1, 2 for segmentation, depth and normals on raw losses. A pair's
    weight holds for each of its losses.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    """`TEACHER` or `TEACHER/TASK` → weight. The longer name wins; who is not named weighs 1."""
    standardise: bool = True
    """Divide each loss by its running size, so that a weight means the same for KL, L1 and cosine."""

    def __post_init__(self) -> None:
        for name, weight in self.weights.items():
            if not 0 <= weight < float("inf"):
                raise Refusal(
                    f"--weighting.weights {name} {weight} is no weight: give a number of at least 0."
                )

    def build(self, terms: tuple[Term, ...]) -> FixedWeights:
        """The weights by term. Raises `Refusal` where one names no teacher."""
        taught = [term for term in terms if term.taught]
        known = {name for term in taught for name in _names(term)}
        for name in self.weights:
            if name not in known:
                raise Refusal(
                    f"--weighting.weights names '{name}', which teaches nothing here: "
                    f"choose among {', '.join(sorted(known)) or 'no teachers at all'}."
                )
        scale = Scale(len(terms)) if self.standardise else None
        return FixedWeights(terms, weights=tuple(self._weight(term) for term in terms), gain=1.0, scale=scale)

    def _weight(self, term: Term) -> float:
        return next((self.weights[name] for name in _names(term) if name in self.weights), 1.0)


def _names(term: Term) -> tuple[str, str]:
    """What a weight may be given by, in order of precedence."""
    return f"{term.source}/{term.task}", term.source
