"""A small batch with every truth."""

from __future__ import annotations

import torch

from jointdistill.types import UNKNOWN_LABEL, Batch, Position
from jointdistill.warp import Warp


def batch_of(images: int = 3, height: int = 16, width: int = 24) -> Batch:
    """Random images, depths of 1..5 m and labels of three classes; the first rows are unknown."""
    draw = torch.Generator().manual_seed(0)
    depth = 1 + 4 * torch.rand(images, 1, height, width, generator=draw)
    labels = torch.randint(0, 3, (images, height, width), generator=draw)
    depth[:, :, 0], labels[:, 0] = torch.nan, UNKNOWN_LABEL
    present = torch.ones(images, dtype=torch.bool)
    return Batch(
        keys=tuple(f"image-{place}" for place in range(images)),
        index=torch.arange(images),
        slots=torch.arange(images),
        image=torch.rand(images, 3, height, width, generator=draw),
        truth={"depth": depth, "segmentation": labels},
        present={"depth": present, "segmentation": present},
        count={"depth": images, "segmentation": images},
        total=images,
        labelled=images,
        position=Position(0, 0, 0),
        warp=Warp.identity(images),
    )
