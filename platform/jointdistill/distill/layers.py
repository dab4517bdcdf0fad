"""How two networks' maps are brought together."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from jointdistill.tasks.geometry import averaged
from jointdistill.types import Refusal


def channels_of(layer: str, student: Mapping[str, int], source: Mapping[str, int]) -> tuple[int, int]:
    """Channels of a layer in student and source. Raises `Refusal` where either has no such layer."""
    for side, layers in (("student", student), ("teacher", source)):
        if layer not in layers:
            known = ", ".join(layers) or "none"
            raise Refusal(f"The {side} has no layer '{layer}': choose one that both have (it has {known}).")
    return student[layer], source[layer]


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps [B, ·, h, w] at the coarser height and width, the finer one averaged over what it merges."""
    height, width = (min(sizes) for sizes in zip(one.shape[-2:], other.shape[-2:], strict=True))
    return averaged(one, (height, width)), averaged(other, (height, width))
