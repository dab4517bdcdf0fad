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
        self._fresh: list[Tensor] = []
        self._reduced = torch.empty(0, self._width, dtype=torch.float64)

    @property
    def _width(self) -> int:
        return 3 * len(self._terms) + 4

    def add(self, step: Step) -> None:
        """Take in a step."""
        alike = torch.stack(
            [*step.weight, step.gradient_norm.to(step.weight), step.finite.to(step.weight)]
        )  # the same on every rank: the sum over the ranks must be their value
        row = [
            step.losses,
            step.present,
            alike[: len(self._terms)] / self._ranks.world,
            step.trajectory[None],
            alike[len(self._terms) :] / self._ranks.world,
            (~step.sound).sum()[None],
        ]
        self._fresh.append(torch.cat([part.double() for part in row]))

    def reduce(self, step: int) -> Stats:
        """Bring the fresh rows together over all ranks."""
        fresh = self._together()
        self._fresh = []
        self._reduced = torch.cat([self._reduced, fresh])
        terms = len(self._terms)
        losses, present = fresh[:, :terms], fresh[:, terms : 2 * terms]
        return Stats(step, torch.where(present > 0, losses, torch.nan))

    def report(self) -> dict[str, float]:
        """The means of all reduced rows since the last report, by metric key."""
        rows, self._reduced = self._reduced, self._reduced[:0]
        terms = len(self._terms)
        seen = torch.where(rows.isfinite(), rows, torch.nan)  # `finite_steps` tells how many were not
        losses = torch.where(rows[:, terms : 2 * terms] > 0, seen[:, :terms], torch.nan).nanmean(0)
        weights = rows[:, 2 * terms : 3 * terms].mean(0)
        trajectory, norm, finite, _ = seen[:, 3 * terms :].nanmean(0).tolist()
        metrics = {f"loss/{term}": float(loss) for term, loss in zip(self._terms, losses, strict=True)}
        pairs = zip(self._terms, weights, strict=True)
        metrics |= {f"effective/{term}": float(w) for term, w in pairs if term.taught}  # labels weigh 1
        metrics |= {"loss/trajectory": trajectory, "gradient_norm": norm, "finite_steps": finite}
        metrics["unsound_images"] = float(rows[:, -1].sum())
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
            return torch.empty(0, self._width, dtype=torch.float64)
        return self._ranks.sum(torch.stack(self._fresh)).cpu()
