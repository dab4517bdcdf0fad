"""Gradients of the terms, compared where all tasks still share one feature."""

from __future__ import annotations

import torch
from torch import Tensor

from jointdistill.engine.ranks import Ranks
from jointdistill.types import Losses, Prediction


def gram(losses: Losses, predicted: Prediction, ranks: Ranks) -> Tensor:
    """[K, K] inner products of the terms' gradients at the shared feature, over the global batch.

    The gradient at the feature bounds the one at the encoder (MGDA-UB, Sener & Koltun, 2018) and costs
    K backward passes through the heads only.
    """
    assert predicted.shared is not None
    rows = []
    for mean in losses.mean():
        (gradient,) = torch.autograd.grad(mean, predicted.shared, retain_graph=True, allow_unused=True)
        rows.append(torch.zeros_like(predicted.shared) if gradient is None else gradient)
    flat = torch.stack(rows).flatten(1).float()  # [K, B·C·h·w]
    return ranks.sum(flat @ flat.T)
