"""Predictions and batches for tests of distillation losses."""

from __future__ import annotations

import torch
from torch import Tensor

from jointdistill.types import Batch, Position, Prediction
from jointdistill.warp import Warp

LAYER = "decoder"
CHANNELS = {LAYER: 6}


def prediction(task: str, seed: int, size: int = 8, scale: float = 1.0, channels: int = 6) -> Prediction:
    """Three images with an answer and one feature layer; both fit any task, being positive."""
    generator = torch.Generator().manual_seed(seed)

    def values(count: int) -> Tensor:
        return scale * (0.1 + torch.rand(3, count, size, size, generator=generator))

    return Prediction({task: values(5).requires_grad_()}, {LAYER: values(channels).requires_grad_()})


def leaves(prediction: Prediction) -> list[Tensor]:
    return [*prediction.answers.values(), *prediction.features.values()]


def batch() -> Batch:
    rows = torch.arange(3)
    return Batch(
        keys=("a", "b", "c"),
        index=rows,
        slots=rows,
        image=torch.zeros(3, 3, 16, 16),
        truth={},
        present={},
        count={},
        total=3,
        labelled=3,
        position=Position(0, 0, 0),
        warp=Warp.identity(3),
    )
