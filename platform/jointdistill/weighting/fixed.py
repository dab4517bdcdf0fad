"""Weights that never change, on losses as they are or brought to one size."""

from __future__ import annotations

from typing import final

import torch

from jointdistill.types import Losses, State, Stats, Term, Weighted
from jointdistill.weighting.base import Weighting
from jointdistill.weighting.factors import Factors
from jointdistill.weighting.scale import Scale


@final
class FixedWeights(Weighting):
    """Labels weigh 1; a teacher's term weighs `gain · weight`, over its loss's running size if standardised.

    The recipes `LabelsOnly`, `Equal` and `Static` differ in their weights only.
    """

    def __init__(self, terms: tuple[Term, ...], weights: tuple[float, ...], gain: float, scale: Scale | None):
        self._terms = terms
        self._weights = weights
        self._amount = torch.tensor(
            [gain * weight if term.taught else 1.0 for term, weight in zip(terms, weights, strict=True)],
            dtype=torch.float64,
        )
        self._taught = torch.tensor([term.taught for term in terms], dtype=torch.bool)
        self._scale = scale
        self._factors = Factors(terms)
        self._decide()

    def weigh(self, losses: Losses, stats: Stats) -> Weighted:
        """[K, 1]; a standardised term waits at 0 until the first window has told its size."""
        return self._factors.weigh(losses)

    def after_step(self, stats: Stats) -> None:
        """Follow the losses' sizes."""
        if self._scale is not None:
            self._scale.update(stats.window)
            self._decide()

    def log(self) -> dict[str, float]:
        """`weight/TEACHER/TASK`, which each of the pair's terms has, and `factor/TEACHER/TASK/LOSS`."""
        pairs = zip(self._terms, self._weights, strict=True)
        weights = {f"weight/{term.source}/{term.task}": weight for term, weight in pairs if term.taught}
        return weights | self._factors.log()

    def state(self) -> State:
        """The losses' sizes, where they matter."""
        return (self._scale.tensors() if self._scale is not None else {}), {}

    def load(self, state: State) -> None:
        """Go on from a state."""
        if self._scale is not None:
            self._scale.load(state[0])
            self._decide()

    def _decide(self) -> None:
        if self._scale is None:
            self._factors.decide(self._amount)
        else:
            self._factors.decide(torch.where(self._taught, self._amount * self._scale.inverse, self._amount))
