"""How dense values follow a warp, and how they are read at points."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from jointdistill.warp import Warp


def resample(
    values: Tensor, warp: Warp, size: tuple[int, int], mode: Literal["bilinear", "nearest"]
) -> Tensor:
    """The views [B, C, *size] of canonical values [B, C, H, W].

    Past the edge, `nearest` reads 0, which truths take as unknown, and `bilinear` the edge's own colour: it
    already does so within half a pixel of the edge, where zeros would draw a dark frame around the view.
    """
    back = warp.inverse().matrix.to(values)
    linear, shift = back[:, :2, :2], back[:, :2, 2:]
    # p → A p + t in fractions of the image is g → A g + A 1 + 2 t − 1 where grid_sample's g = 2 p − 1.
    theta = torch.cat([linear, linear.sum(2, keepdim=True) + 2 * shift - 1], 2)  # [B, 2, 3]
    grid = _affine_grid(theta, size)
    beyond = "zeros" if mode == "nearest" else "border"
    return F.grid_sample(values, grid, mode=mode, padding_mode=beyond, align_corners=False)


def _affine_grid(theta: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, *size, 2] where `theta` [B, 2, 3] takes the pixels' centres. As `F.affine_grid`, but as sums of
    rows and columns: its matrix product takes twenty times as long on a CPU."""
    y, x = ((2 * torch.arange(side, device=theta.device) + 1) / side - 1 for side in size)
    across = theta[:, :, :1] * x  # [B, 2, W]
    down = theta[:, :, 1:2] * y + theta[:, :, 2:]  # [B, 2, H]
    return (across[:, :, None] + down[..., None]).permute(0, 2, 3, 1)


def fit(answer: Tensor, size: torch.Size) -> Tensor:
    """An answer [B, C, h, w] brought to the size of a truth, bilinearly."""
    if answer.shape[-2:] == size[-2:]:
        return answer
    # With channels last the interpolation of many classes takes a fifth of the time on a CPU.
    answer = answer.contiguous(memory_format=torch.channels_last)
    return F.interpolate(answer, size[-2:], mode="bilinear", align_corners=False)


def at_points(values: Tensor, points: Tensor) -> Tensor:
    """Values [B, C, H, W] at points [B, m, 2], which are fractions of the image, bilinearly: [B, m, C].

    Beyond the edge they are the edge's.
    """
    if values.is_cuda:
        return _between_corners(values, points)
    grid = (2 * points - 1).to(values)[:, None]  # [B, 1, m, 2]
    read = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return read[:, :, 0].mT


def nearest(truth: Tensor, points: Tensor) -> Tensor:
    """A truth [B, …, H, W] of any type at the pixels nearest to points [B, m, 2]: [B, …, m]."""
    height, width = truth.shape[-2:]
    x = (points[..., 0] * width).long().clamp(0, width - 1)
    y = (points[..., 1] * height).long().clamp(0, height - 1)
    flat = truth.flatten(-2)
    pixel = (y * width + x).view(len(flat), *[1] * (flat.ndim - 2), -1)
    return flat.gather(-1, pixel.expand(*flat.shape[:-1], -1))


def _between_corners(values: Tensor, points: Tensor) -> Tensor:
    """As `F.grid_sample`, which has no deterministic gradient on CUDA; on a CPU this takes longer."""
    height, width = values.shape[-2:]
    image = torch.arange(len(values), device=values.device)[:, None, None, None]
    x = (points[..., 0] * width - 0.5).clamp(0, width - 1)  # [B, m] in pixels, from the first one's centre
    y = (points[..., 1] * height - 0.5).clamp(0, height - 1)
    left, top = x.long(), y.long()
    columns = torch.stack([left, (left + 1).clamp_max(width - 1)], -1)[..., None, :]  # [B, m, 1, 2]
    rows = torch.stack([top, (top + 1).clamp_max(height - 1)], -1)[..., None]  # [B, m, 2, 1]
    across, down = (x % 1)[..., None, None], (y % 1)[..., None, None]
    share = torch.cat([1 - across, across], -1) * torch.cat([1 - down, down], -2)  # [B, m, 2, 2]
    corners = values[image, :, rows, columns]  # [B, m, 2, 2, C]
    return (corners * share[..., None].to(values)).sum((2, 3))


def averaged(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Values [B, C, H, W] averaged over what becomes one pixel of a smaller size: [B, C, *size].

    As `F.adaptive_avg_pool2d`, which has no deterministic gradient on CUDA.
    """
    height, width = values.shape[-2:]
    if (height, width) == size:
        return values  # pooling would copy, and full-size logits are large
    if height % size[0] == width % size[1] == 0:
        return F.avg_pool2d(values, (height // size[0], width // size[1]))
    down, across = (_shares(*sides, values) for sides in ((height, size[0]), (width, size[1])))
    with torch.autocast(values.device.type, enabled=False):
        return down @ values.to(down) @ across.mT


def _shares(pixels: int, windows: int, values: Tensor) -> Tensor:
    """[windows, pixels] the share that each pixel of a side has in each window's mean."""
    window = torch.arange(windows, device=values.device)[:, None]
    pixel = torch.arange(pixels, device=values.device)
    begins, ends = window * pixels // windows, -(-(window + 1) * pixels // windows)
    inside = (begins <= pixel) & (pixel < ends)
    return inside / inside.sum(1, keepdim=True)
