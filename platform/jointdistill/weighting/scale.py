"""How large each loss is now, and was in the beginning.

KL, L1 and cosine losses differ by orders of magnitude. Divided by their running size they compare: PHI-S
(2410.01680) and UNIC (2408.05088) standardise what is distilled, DB-MTL (2308.12029) the losses.
Everything is float64 on the host, from statistics that are the same on every rank.
"""

from __future__ import annotations

import torch
from torch import Tensor

KEEP = 0.98
"""What a running mean keeps a step: it remembers about 50 of them."""

FLOOR = 0.05
"""A loss that has fallen below this share of its beginning is blown up no further."""


class RunningMean:
    """Bias-corrected exponential means of a vector.

    An entry that is not finite is passed over, so that one bad step can never poison the mean.
    """

    def __init__(self, size: int, keep: float) -> None:
        self._keep = keep
        self.moments = torch.zeros(2, size, dtype=torch.float64)
        """[2, size] weighted sum, and the weights' sum. It is never changed in place."""

    def update(self, value: Tensor) -> None:
        """Take in a value [size]."""
        new = torch.stack([value, torch.ones_like(value)])
        moved = self._keep * self.moments + (1 - self._keep) * new
        self.moments = torch.where(value.isfinite(), moved, self.moments)

    @property
    def value(self) -> Tensor:
        """[size] the mean; NaN where nothing has been heard yet."""
        return self.moments[0] / self.moments[1]


class Scale:
    """The running size of each of K losses.

    It keeps two means, because each answers another question: the mean loss is what makes a standardised
    loss 1 on average, the mean log is what makes ratios of any two losses comparable.
    """

    def __init__(self, size: int, warmup_steps: int = 100) -> None:
        self._warmup_steps = warmup_steps
        self._loss = RunningMean(size, KEEP)
        self._log = RunningMean(size, KEEP)
        self._start = torch.zeros(2, size, dtype=torch.float64)  # sum of first logs, and how many
        self._before = torch.full((size,), torch.nan, dtype=torch.float64)  # the mean log a window ago

    def update(self, window: Tensor) -> None:
        """Take in the means [U, K] of a window of steps; NaN is passed over."""
        self._before = self._log.value
        for losses in window:
            logs = losses.log()
            self._loss.update(losses)
            self._log.update(logs)
            beginning = logs.isfinite() & (self._start[1] < self._warmup_steps)
            self._start = torch.where(
                beginning, self._start + torch.stack([logs, torch.ones_like(logs)]), self._start
            )

    @property
    def inverse(self) -> Tensor:
        """[K] 1/n, which brings a loss to size 1, where n = max(mean loss, FLOOR · beginning).

        It is 0 until a loss has been heard of: nobody learns from a loss of unknown size.
        """
        beginning = (self._start[0] / self._start[1]).exp()
        size = torch.fmax(self._loss.value, FLOOR * beginning)  # fmax passes over NaN
        return torch.where(size > 0, 1 / size, 0.0)

    @property
    def descent(self) -> Tensor:
        """[K] log of present over beginning: 0 at first, -0.7 where the loss has halved; NaN unknown."""
        return self._log.value - self._start[0] / self._start[1]

    @property
    def slope(self) -> Tensor:
        """[K] change of the mean log over the last window; NaN unknown."""
        return self._log.value - self._before

    def tensors(self) -> dict[str, Tensor]:
        """Everything `load` needs."""
        return {
            "scale.loss": self._loss.moments,
            "scale.log": self._log.moments,
            "scale.start": self._start,
            "scale.before": self._before,
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` gave."""
        self._loss.moments = tensors["scale.loss"]
        self._log.moments = tensors["scale.log"]
        self._start = tensors["scale.start"]
        self._before = tensors["scale.before"]
