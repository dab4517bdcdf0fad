"""A weighting by gradients: does the contract have room for PCGrad?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from jointdistill.types import Losses, State, Stats, Term, Weighted
from jointdistill.weighting.base import Need, Weighting, WeightingRecipe


@dataclass(frozen=True)
class Surgery(WeightingRecipe):
    """PCGrad (2001.06782): from each gradient take what points against another one."""

    def build(self, terms: tuple[Term, ...]) -> SurgeryWeights:
        return SurgeryWeights(terms)


@final
class SurgeryWeights(Weighting):
    needs = frozenset({Need.GRAM})

    def __init__(self, terms: tuple[Term, ...]):
        self._order = sorted(range(len(terms)), key=lambda row: str(terms[row]))

    def weigh(self, losses: Losses, stats: Stats) -> Weighted:
        assert stats.gram is not None
        return Weighted(projected(stats.gram, self._order).unsqueeze(1))

    def state(self) -> State:
        return {}, {}

    def load(self, state: State) -> None:
        pass


def projected(gram: Tensor, order: list[int]) -> Tensor:
    """[K] coefficients of the sum of projected gradients; each is at least 1."""
    own = torch.eye(len(gram), device=gram.device)  # row k: gradient k as a combination of all of them
    for other in order:
        against = (own @ gram[:, other]).clamp(max=0) / gram[other, other].clamp(min=1e-12)
        against[other] = 0
        own[:, other] -= against
    return own.sum(0)
