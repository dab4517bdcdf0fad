"""Log depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from jointdistill.distill.base import Distil, DistilRecipe
from jointdistill.distill.layers import same_size
from jointdistill.types import Batch, Prediction

_NEAREST_M = 1e-3
"""A depth of 0 has no log; nothing stands within a millimetre of a camera."""


@final
@dataclass(frozen=True)
class LogDepthL1(DistilRecipe):
    """|log d_teacher − log d_student|, a mean over pixels: a relative error, alike near and far."""

    task: str = "depth"
    """The task whose answers are compared."""

    def build(self, student: Mapping[str, int], source: Mapping[str, int]) -> Distil:
        """The loss; it compares answers and needs no layer."""
        return _LogDepthL1(self.task)


@final
class _LogDepthL1(Distil):
    def __init__(self, task: str) -> None:
        super().__init__()
        self.task = task

    def forward(self, student: Prediction, source: Prediction, batch: Batch) -> Tensor:
        answer, target = same_size(_log(student.answers[self.task]), _log(source.answers[self.task].detach()))
        return (answer - target).abs().mean((1, 2, 3))


def _log(metres: Tensor) -> Tensor:
    return metres.float().clamp_min(_NEAREST_M).log()
