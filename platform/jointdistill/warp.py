"""Where a view lies in its image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Warp:
    """Where a view lies in its canonical image.

    Coordinates are fractions of the image, x to the right and y down, both in [0, 1], so that a warp
    does not depend on a resolution.
    """

    matrix: Tensor
    """[B, 3, 3] homogeneous and affine, canonical → view."""

    @classmethod
    def identity(cls, size: int, device: torch.device | str = "cpu") -> Warp:
        """The warp that leaves `size` images as they are."""
        return cls(torch.eye(3, device=device).repeat(size, 1, 1))

    def points(self, canonical: Tensor) -> Tensor:
        """Map points [B, m, 2] of the canonical images to the views."""
        ones = torch.ones_like(canonical[..., :1])
        moved = torch.cat([canonical, ones], -1) @ self.matrix.to(canonical).mT
        return moved[..., :2] / moved[..., 2:]

    def inverse(self) -> Warp:
        """View → canonical. In closed form: on CUDA a general inverse makes the host wait."""
        a, b, c, d = self.matrix[:, :2, :2].flatten(1).unbind(1)
        linear = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
        affine = torch.cat([linear, -linear @ self.matrix[:, :2, 2:]], 2)  # [B, 2, 3]
        return Warp(torch.cat([affine, self.matrix[:, 2:]], 1))

    @property
    def zoom(self) -> Tensor:
        """[B] how many times larger things appear in the view."""
        a, b, c, d = self.matrix[:, :2, :2].flatten(1).unbind(1)
        return (a * d - b * c).abs().sqrt()

    def __getitem__(self, rows: slice) -> Warp:
        return Warp(self.matrix[rows])
