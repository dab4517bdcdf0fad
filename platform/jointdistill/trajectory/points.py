"""The canonical grid: where its cells lie in a view, how much a network looks at them, which to keep."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from jointdistill.tasks.geometry import at_points, averaged


@lru_cache(maxsize=16)
def centres(grid: tuple[int, int], device: torch.device | str = "cpu") -> Tensor:
    """[cells, 2] the cells' centres, row by row, as fractions (x, y) of the canonical image; read only."""
    rows, columns = grid
    y = (torch.arange(rows, device=device) + 0.5) / rows
    x = (torch.arange(columns, device=device) + 0.5) / columns
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2)


def visible(points: Tensor) -> Tensor:
    """[…] bool: the points […, 2] of a view lie within it."""
    return ((points >= 0) & (points <= 1)).all(-1)


def attention_at(features: Tensor, grid: tuple[int, int], points: Tensor) -> Tensor:
    """[B, m] how much a layer [B, C, h, w] looks at points [B, m, 2] of the view."""
    return at_points(energy(features, grid), points)[..., 0]


def energy(features: Tensor, grid: tuple[int, int]) -> Tensor:
    """[B, 1, h, w] the attention of a layer [B, C, h, w], its energy Σ_c F_c².

    Zagoruyko & Komodakis, Paying More Attention to Attention (1612.03928). Without its channels a layer
    compares with any other. A layer finer than the grid is pooled to it.
    """
    # Some channels at a time, so that the squares stay in the processor's cache.
    parts = [part.float().square().sum(1, keepdim=True) for part in torch.split(features, 8, 1)]
    total = torch.stack(parts).sum(0)
    if total.shape[-2] > grid[0] or total.shape[-1] > grid[1]:
        total = averaged(total, grid)
    return total


def essential_points(attention: Tensor, losses: Tensor, points: int) -> Tensor:
    """[B, points] int64 the cells with the most A · exp(−l): looked at *and* right, in rising order.

    `attention` [B, cells] ≥ 0; `losses` [B, cells], NaN where a cell cannot be judged: it comes last.
    """
    worth = attention * torch.exp(-losses).nan_to_num(0.0)
    return worth.topk(points, dim=1).indices.sort(dim=1).values
