"""A learned weighting: does the contract have room for parameters and a loss of their own?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from jointdistill.types import Losses, State, Stats, Term, Weighted
from jointdistill.weighting.base import Weighting, WeightingRecipe


@dataclass(frozen=True)
class Uncertainty(WeightingRecipe):
    """L = Σ_k L_k / (2 exp s_k) + s_k / 2 with s learned (1705.07115)."""

    def build(self, terms: tuple[Term, ...]) -> UncertaintyWeights:
        return UncertaintyWeights(len(terms))


@final
class UncertaintyWeights(Weighting):
    def __init__(self, size: int):
        self.log_variance = nn.Parameter(torch.zeros(size))

    def weigh(self, losses: Losses, stats: Stats) -> Weighted:
        factor = (-self.log_variance).exp() / 2
        share = losses.present.sum(1) / losses.count  # of a term's images; over all ranks it sums to 1
        own = factor * losses.mean().detach() + share * self.log_variance / 2
        return Weighted(factor.detach().unsqueeze(1), auxiliary=own.sum())

    def parameters(self) -> Iterable[nn.Parameter]:
        return (self.log_variance,)

    def state(self) -> State:
        return {"log_variance": self.log_variance.detach().clone()}, {}

    def load(self, state: State) -> None:
        with torch.no_grad():
            self.log_variance.copy_(state[0]["log_variance"])
