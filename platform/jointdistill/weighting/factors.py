"""Factors that are decided on the host now and then, and used on the device every step."""

from __future__ import annotations

import torch
from torch import Tensor

from jointdistill.types import Losses, Term, Weighted


class Factors:
    """One factor a term. Between two decisions it stays on the losses' device, so no step waits for it."""

    def __init__(self, terms: tuple[Term, ...]) -> None:
        self._terms = terms
        self._host = torch.ones(len(terms), 1)
        self._there = self._host

    def decide(self, factors: Tensor) -> None:
        """Use these factors [K] from now on."""
        self._host = factors.float().unsqueeze(1)  # [K, 1]
        self._there = self._host

    def weigh(self, losses: Losses) -> Weighted:
        """The factors as [K, 1], on the losses' device."""
        if self._there.device != losses.value.device:
            self._there = self._host.to(losses.value.device, non_blocking=True)
        return Weighted(self._there)

    def log(self) -> dict[str, float]:
        """`factor/TEACHER/TASK/LOSS`."""
        pairs = zip(self._terms, self._host[:, 0].tolist(), strict=True)
        return {f"factor/{term}": factor for term, factor in pairs if term.taught}
