"""Where each channel looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn
from torch.nn import functional as F

from jointdistill.distill.base import Distil, DistilRecipe
from jointdistill.distill.layers import channels_of, same_size
from jointdistill.types import Batch, Prediction, Refusal


@final
@dataclass(frozen=True)
class ChannelWise(DistilRecipe):
    """τ² / C · Σ_c KL(φ_c ‖ ψ_c), where φ_c and ψ_c are the softmax over all *pixels* of channel c / τ.

    Shu et al.: Channel-wise knowledge distillation for dense prediction (ICCV 2021), on the logits or on
    a layer. Unlike a KL a pixel it dwells on where a class is, not on the many pixels where it is not.
    """

    task: str = "segmentation"
    """The task whose answers are compared."""
    layer: str = ""
    """Empty: the task's logits. A layer of other channels gets a 1x1 connector, which is trained along."""
    temperature: float = 4.0
    """τ: above 1 more of a map than its peak counts."""

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise Refusal(f"ChannelWise needs a temperature above 0, not {self.temperature}.")

    @property
    def layers(self) -> tuple[str, ...]:
        """The one compared, if any."""
        return (self.layer,) if self.layer else ()

    def build(self, student: Mapping[str, int], source: Mapping[str, int]) -> Distil:
        """The loss. Raises `Refusal` where either side has no such layer."""
        connector: nn.Module = nn.Identity()
        if self.layer:
            own, theirs = channels_of(self.layer, student, source)
            connector = nn.Conv2d(own, theirs, 1) if own != theirs else connector
        return _ChannelWise(self, connector)


@final
class _ChannelWise(Distil):
    def __init__(self, recipe: ChannelWise, connector: nn.Module) -> None:
        super().__init__()
        self.recipe, self.connector = recipe, connector

    def forward(self, student: Prediction, source: Prediction, batch: Batch) -> Tensor:
        maps, target = same_size(self.connector(self._maps(student).float()), self._maps(source).detach())
        temperature = self.recipe.temperature
        log_psi = F.log_softmax(maps.float().flatten(2) / temperature, 2)  # [B, C, h w]
        log_phi = F.log_softmax(target.float().flatten(2) / temperature, 2)
        divergence = F.kl_div(log_psi, log_phi, log_target=True, reduction="none").sum(2)  # [B, C]
        return temperature**2 * divergence.mean(1).clamp_min(0.0)  # rounding may fall below 0

    def _maps(self, prediction: Prediction) -> Tensor:
        layer = self.recipe.layer
        return prediction.features[layer] if layer else prediction.answers[self.recipe.task]
