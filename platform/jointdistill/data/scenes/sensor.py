"""From light to a photograph: exposure, a lens, raindrops, noise, and eight bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .noise import Floats
from .scene import GAMMA


def photograph(rng: np.random.Generator, colour: Floats, rain: float, dark: bool) -> NDArray[np.uint8]:
    """[H, W, 3] what a camera makes of linear light [3, H, W]."""
    _, height, width = colour.shape
    if rain:
        colour = colour + _streaks(rng, height, width, rain) * np.float32(0.35 * colour.mean())
    target = rng.uniform(0.12, 0.17) if dark else rng.uniform(0.22, 0.36)
    balance = rng.normal(1, 0.04, (3, 1, 1)).astype(np.float32)
    gain = target / max(float(np.sqrt(colour.mean() * np.median(colour))), 1e-4)
    exposed = colour * (balance * np.float32(gain)) * _vignette(height, width, rng.uniform(0, 0.25))
    developed = (1 - np.exp(-exposed)) ** np.float32(1 / GAMMA)  # film: bright parts saturate softly
    grain = rng.uniform(0.015, 0.045) if dark else rng.uniform(0.003, 0.02)
    noise = rng.standard_normal(colour.shape, np.float32) * np.float32(grain)
    picture = np.clip(developed + noise * (1.2 - 0.7 * developed), 0, 1) * 255 + np.float32(0.5)
    return np.ascontiguousarray(np.moveaxis(picture.astype(np.uint8), 0, -1))


def _vignette(height: int, width: int, strength: float) -> Floats:
    """[H, W] a lens passes less light towards its corners."""
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, width, dtype=np.float32)
    return 1 - np.float32(strength / 2) * (down * down + across * across)


def _streaks(rng: np.random.Generator, height: int, width: int, rain: float) -> Floats:
    """[H, W] rain: drops that fall along one slanted direction while the shutter is open."""
    drops = (rng.random((height, width), np.float32) < 0.012 * rain).astype(np.float32)
    slant = rng.uniform(-0.35, 0.35)
    length = max(2, height // 14)
    streaks = np.zeros_like(drops)
    for fallen in range(length):
        streaks += np.roll(drops, (fallen, math.floor(fallen * slant)), (0, 1))
    return np.minimum(streaks, 1)
