"""A weighting a sample: does the contract have room for CA-MKD?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from jointdistill.types import Losses, State, Stats, Term, Weighted
from jointdistill.weighting.base import Need, Weighting, WeightingRecipe


@dataclass(frozen=True)
class Confidence(WeightingRecipe):
    """w_k = (1 - softmax_k CE(T_k, y)) / (K - 1) on each image (CA-MKD, 2201.00007)."""

    def build(self, terms: tuple[Term, ...]) -> ConfidenceWeights:
        return ConfidenceWeights(terms)


@final
class ConfidenceWeights(Weighting):
    needs = frozenset({Need.TEACHER_LOSS})

    def __init__(self, terms: tuple[Term, ...]):
        self._groups = [
            [row for row, term in enumerate(terms) if term.taught and (term.task, term.loss) == kind]
            for kind in sorted({(term.task, term.loss) for term in terms if term.taught})
        ]

    def weigh(self, losses: Losses, stats: Stats) -> Weighted:
        assert losses.teacher is not None
        weight = torch.ones_like(losses.value)
        for rows in self._groups:
            if len(rows) > 1:
                wrong = losses.teacher[rows]  # [k, B]
                known = wrong.isfinite().sum(0)
                share = wrong.nan_to_num(-torch.inf).softmax(0).nan_to_num(0.0)
                # Where fewer than two are known, all are equal.
                weight[rows] = torch.where(known > 1, (1 - share) / (known - 1), 1 / len(rows))
        return Weighted(weight)

    def state(self) -> State:
        return {}, {}

    def load(self, state: State) -> None:
        pass
