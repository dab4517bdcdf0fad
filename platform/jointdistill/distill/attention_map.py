"""Where a network looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.nn import functional as F

from jointdistill.distill.base import Distil, DistilRecipe
from jointdistill.distill.layers import channels_of, same_size
from jointdistill.types import Batch, Prediction


@final
@dataclass(frozen=True)
class AttentionMap(DistilRecipe):
    """‖a_teacher − a_student‖², where a = Σ_c F_c² over a layer's channels, scaled to unit length.

    Zagoruyko, Komodakis: Paying more attention to attention (ICLR 2017). No channels are left in a, so
    any two networks compare without a connector. The loss lies in 0..2 at every resolution.
    """

    layer: str
    """The feature layer whose energy is compared."""

    @property
    def layers(self) -> tuple[str, ...]:
        """The one compared."""
        return (self.layer,)

    def build(self, student: Mapping[str, int], source: Mapping[str, int]) -> Distil:
        """The loss. Raises `Refusal` where either side has no such layer."""
        channels_of(self.layer, student, source)
        return _AttentionMap(self.layer)


@final
class _AttentionMap(Distil):
    def __init__(self, layer: str) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, student: Prediction, source: Prediction, batch: Batch) -> Tensor:
        maps = same_size(_energy(student.features[self.layer]), _energy(source.features[self.layer].detach()))
        looked, target = (F.normalize(energy.flatten(1)) for energy in maps)  # [B, h w]
        return (looked - target).square().sum(1)


def _energy(feature: Tensor) -> Tensor:
    return feature.float().square().sum(1, keepdim=True)  # [B, 1, h, w]
