"""Colours for pictures: a scale for quantities and a palette for classes."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor

_TURBO = torch.tensor(
    [
        (48, 18, 59),
        (65, 69, 171),
        (70, 117, 237),
        (57, 162, 252),
        (27, 207, 212),
        (36, 236, 166),
        (97, 252, 108),
        (164, 252, 59),
        (209, 232, 52),
        (243, 198, 58),
        (254, 155, 45),
        (243, 99, 21),
        (217, 56, 6),
        (177, 25, 1),
        (122, 4, 2),
    ]
)
"""[15, 3] Turbo at even steps (Mikhailov, Google AI Blog 2019): neither end is black, so unknown can be."""


def turbo(share: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] of values [B, H, W] in 0..1: blue is low, red is high, NaN is black."""
    table = _TURBO.to(share)
    last = len(table) - 1
    place = share.nan_to_num(0.0).clamp(0, 1) * last
    below = place.floor().long().clamp_max(last - 1)
    colour = torch.lerp(table[below], table[below + 1], (place - below)[..., None])  # [B, H, W, 3]
    colour = torch.where(share.isnan()[..., None], 0.0, colour)
    return colour.round().to(torch.uint8).permute(0, 3, 1, 2)


def palette(size: int) -> tuple[tuple[int, int, int], ...]:
    """A colour each for `size` classes whose data set names none."""
    # Steps of the golden ratio round the colour wheel never fall on an earlier hue.
    hues = ((place * 0.61803) % 1.0 for place in range(size))
    colours = (colorsys.hsv_to_rgb(hue, 0.65, 0.95) for hue in hues)
    return tuple((round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colours)
