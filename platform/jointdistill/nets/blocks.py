"""The few blocks the networks are made of. GroupNorm throughout: its output does not depend on the batch,
so any split of a global batch over ranks and micro-batches computes the same thing."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of 8 channels, or as near to that as the channel count allows."""
    groups = next(groups for groups in range(max(1, channels // 8), 0, -1) if channels % groups == 0)
    return nn.GroupNorm(groups, channels)


class ConvNorm(nn.Sequential):
    """Convolution, norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            group_norm(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """The basic residual block (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, stride=stride)
        self.second = nn.Sequential(
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), group_norm(outputs)
        )
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, h, w] → [B, outputs, h / stride, w / stride]."""
        return F.relu(self.skip(x) + self.second(self.first(x)))


class Merge(nn.Module):
    """One rung of the decoder: a coarse map is brought up and joined with a finer one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            ConvNorm(channels, channels, kernel=1),
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """[B, C, h, w] and a coarser [B, C, h', w'] → [B, C, h, w]."""
        return self.mix(fine + F.interpolate(coarse, fine.shape[-2:], mode="bilinear"))  # type: ignore[no-any-return]
