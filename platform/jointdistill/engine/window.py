"""The last few steps' numbers, kept on the device and reduced over the ranks now and then.

One reduction of a small matrix every few steps is all the talk that statistics cost, and nothing waits
for the device in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from jointdistill.engine.ranks import Ranks
from jointdistill.types import State, Stats, Step, Term

STEPS = 10
"""Steps between two reductions; weightings hear the statistics at this pace."""


class Window:
    """Rows of numbers, one a step: first this rank's own, then everybody's, then what is to be reported."""

    def __init__(self, terms: Sequence[Term], ranks: Ranks) -> None:
        self._terms, self._ranks = tuple(terms), ranks
        self._widths = [len(self._terms)] * 3 + [1] * 4
        """Of what stands in a row: losses, present, weights, trajectory, gradient norm, finite, unsound."""
        self._fresh: list[Tensor] = []
        self._reduced = torch.empty(0, sum(self._widths), dtype=torch.float64)

    def __len__(self) -> int:
        """Reduced steps that were not reported yet."""
        return len(self._reduced)

    def add(self, step: Step) -> None:
        """Take in a step."""
        world = self._ranks.world  # what is the same on every rank must be so after the sum over them
        row = [
            step.losses,
            step.present,
            step.weight.double() / world,
            step.trajectory,
            step.gradient_norm.double() / world,
            step.finite.double() / world,
            (~step.sound).sum(),
        ]
        self._fresh.append(torch.cat([part.double().reshape(-1) for part in row]))

    def reduce(self, step: int) -> Stats:
        """Bring the fresh rows together over all ranks."""
        fresh = self._together()
        self._fresh = []
        self._reduced = torch.cat([self._reduced, fresh])
        losses, present, *_ = torch.split(fresh, self._widths, 1)
        return Stats(step, torch.where(present > 0, losses, torch.nan))

    def report(self) -> dict[str, float]:
        """The means of all reduced rows since the last report, by metric key."""
        rows, self._reduced = self._reduced, self._reduced[:0]
        seen = torch.where(rows.isfinite(), rows, torch.nan)  # `finite_steps` tells how many were not
        losses, present, weights, trajectory, norm, finite, unsound = torch.split(seen, self._widths, 1)
        losses = torch.where(present > 0, losses, torch.nan).nanmean(0)
        metrics = {f"loss/{term}": float(loss) for term, loss in zip(self._terms, losses, strict=True)}
        pairs = zip(self._terms, weights.mean(0), strict=True)
        metrics |= {f"effective/{term}": float(w) for term, w in pairs if term.taught}  # labels weigh 1
        metrics |= {
            "loss/trajectory": float(trajectory.nanmean()),
            "gradient_norm": float(norm.nanmean()),
            "finite_steps": float(finite.mean()),
            "unsound_images": float(unsound.sum()),
        }
        return {key: value for key, value in metrics.items() if math.isfinite(value)}

    def state(self) -> State:
        """Everything `load` needs to go on exactly; every rank must ask for it together."""
        return {"fresh": self._together(), "reduced": self._reduced}, {}

    def load(self, state: State) -> None:
        """Go on from a state: what was summed over the ranks is carried by the first one."""
        fresh = state[0]["fresh"].to(self._ranks.device)
        self._fresh = list(fresh if self._ranks.first else torch.zeros_like(fresh))
        self._reduced = state[0]["reduced"]

    def _together(self) -> Tensor:
        if not self._fresh:
            return self._reduced[:0]
        return self._ranks.sum(torch.stack(self._fresh)).cpu()
