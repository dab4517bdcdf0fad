"""Draws that every part of a scene needs."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from .primitives import Colour

Choice = TypeVar("Choice")

Range = tuple[float, float]


def pick(rng: np.random.Generator, options: Sequence[Choice]) -> Choice:
    """One of several, all as likely."""
    return options[int(rng.integers(len(options)))]


def happens(rng: np.random.Generator, chance: float) -> bool:
    """Whether something with this chance happens."""
    return bool(rng.random() < chance)


def paint(
    rng: np.random.Generator, hue: Range = (0, 1), saturation: Range = (0, 1), value: Range = (0, 1)
) -> Colour:
    """A colour between bounds of hue, saturation and value."""
    return colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, rng.uniform(*saturation), rng.uniform(*value))


def grey(rng: np.random.Generator, low: float, high: float) -> Colour:
    """A grey, a little warm or cold."""
    value, tint = rng.uniform(low, high), rng.uniform(-0.03, 0.03)
    return value * (1 + tint), value, value * (1 - tint)


def wood(rng: np.random.Generator) -> Colour:
    """The colour of a wood, from birch to walnut."""
    return paint(rng, (0.05, 0.1), (0.35, 0.65), (0.3, 0.8))
