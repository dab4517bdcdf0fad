"""Encoders: the platform's own, or any timm backbone through the optional extra `[zoo]`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

from torch import Tensor, nn

from jointdistill.nets.blocks import ConvNorm, Residual
from jointdistill.types import Refusal


class Backbone(nn.Module, ABC):
    """An encoder: an image in, a pyramid of features out, finest first."""

    channels: tuple[int, ...]
    """Channels of each level."""

    @abstractmethod
    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, 3, H, W] normalised → a list of [B, C, h, w], finest first."""


class ResidualBackbone(Backbone):
    """A stem and four residual stages, strides 2, 4, 8, 16."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.channels = tuple(width * factor for factor in (1, 2, 4, 8))
        self.stem = ConvNorm(3, width, stride=2)
        self.stages = nn.ModuleList()
        inputs = width
        for level, outputs in enumerate(self.channels):
            first = Residual(inputs, outputs, stride=1 if level == 0 else 2)
            rest = [Residual(outputs, outputs) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            inputs = outputs

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, 3, H, W] → four levels."""
        levels = []
        x = self.stem(image)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        return levels


class TimmBackbone(Backbone):
    """A backbone of the timm library, by its name there.

    BatchNorm runs with frozen statistics: they are not shared between workers, and a batch of a few
    labelled images would spoil them.
    """

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as missing:
            raise Refusal(
                f"The backbone '{name}' comes from timm, which is not installed: "
                "pip install 'jointdistill[zoo]', or use --student.backbone own."
            ) from missing
        if name not in timm.list_models(name):
            raise Refusal(f"timm has no backbone '{name}': see timm.list_models() for the names it has.")
        self.network: Any = timm.create_model(name, pretrained=pretrained, features_only=True)
        self.channels = tuple(self.network.feature_info.channels())

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but BatchNorm."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, 3, H, W] → the backbone's own levels."""
        return list(self.network(image))
