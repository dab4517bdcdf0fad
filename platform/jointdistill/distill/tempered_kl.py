"""Softened class probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional as F

from jointdistill.distill.base import Distil, DistilRecipe
from jointdistill.distill.layers import same_size
from jointdistill.types import Batch, Prediction, Refusal


@final
@dataclass(frozen=True)
class TemperedKL(DistilRecipe):
    """T² · KL(p ‖ q), a mean over pixels; p and q are the softmax of teacher's and student's logits / T.

    Hinton, Vinyals, Dean: Distilling the knowledge in a neural network (arXiv 1503.02531). T² keeps the
    gradient's size, which would fall with 1 / T².
    """

    task: str = "segmentation"
    """The task whose answers are compared."""
    temperature: float = 2.0
    """T: above 1 the unlikely classes count for more."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise Refusal(f"TemperedKL needs a temperature above 0, not {self.temperature}.")

    def build(self, student: Mapping[str, int], source: Mapping[str, int]) -> Distil:
        """The loss; it compares answers and needs no layer."""
        return _TemperedKL(self.task, self.temperature)


@final
class _TemperedKL(Distil):
    def __init__(self, task: str, temperature: float) -> None:
        super().__init__()
        self.task, self.temperature = task, temperature

    def forward(self, student: Prediction, source: Prediction, batch: Batch) -> Tensor:
        logits, target = same_size(student.answers[self.task], source.answers[self.task].detach())
        log_q = F.log_softmax(logits.float() / self.temperature, 1)  # [B, C, h, w]
        log_p = F.log_softmax(target.float() / self.temperature, 1)
        # With both sides as logs, p = 0 costs nothing and no logit is too large.
        divergence = F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)  # [B, h, w]
        return self.temperature**2 * divergence.mean((1, 2)).clamp_min(0.0)  # rounding may fall below 0
