"""The atlas of all textures, with averaged copies for the distance."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .noise import Floats
from .patterns import PATTERNS, SIZE

LEVELS = 7
"""Copies, each half as large as the one before."""

TEXTURE: dict[str, int] = {name: place for place, name in enumerate(PATTERNS)}


class Atlas(NamedTuple):
    """All textures at all levels, one texel a row."""

    texels: Floats
    """[T, 3] tone, accent, glow."""
    start: NDArray[np.int32]
    """[LEVELS] row of each level's first texel; within a level one texture follows another."""


@cache
def atlas() -> Atlas:
    """The atlas; drawn once a process, from a seed of its own."""
    tiles = np.stack(
        [draw(np.random.default_rng([11, place])) for place, draw in enumerate(PATTERNS.values())]
    )  # [textures, 3, SIZE, SIZE]
    levels = []
    for _ in range(LEVELS):
        levels.append(np.moveaxis(tiles, 1, -1).reshape(-1, 3))
        count, channels, size, _ = tiles.shape
        tiles = tiles.reshape(count, channels, size // 2, 2, size // 2, 2).mean((3, 5))
    start = np.cumsum([0] + [len(level) for level in levels[:-1]])
    return Atlas(np.concatenate(levels), start.astype(np.int32))


def look_up(texture: NDArray[np.int32], u: Floats, v: Floats, footprint: Floats) -> Floats:
    """[3, N] tone, accent and glow at tile coordinates (u, v), 0 in a tile's middle.

    `footprint` is how much of a tile a sample covers; it chooses the level.
    """
    texels, start = atlas()
    level = np.clip(np.log2(np.maximum(footprint * SIZE, 1e-6)), 0, LEVELS - 1).astype(np.int32)
    size = SIZE >> level
    first = start[level] + texture * size * size
    x, y = (u + 0.5) * size - 0.5, (v + 0.5) * size - 0.5
    left, top = np.floor(x), np.floor(y)
    along, down = (x - left)[:, None], (y - top)[:, None]
    left, top, last = left.astype(np.int32), top.astype(np.int32), size - 1
    near, far = first + (top & last) * size, first + ((top + 1) & last) * size
    here, there = left & last, (left + 1) & last
    upper = texels.take(near + here, 0) * (1 - along) + texels.take(near + there, 0) * along
    lower = texels.take(far + here, 0) * (1 - along) + texels.take(far + there, 0) * along
    mixed: Floats = upper * (1 - down) + lower * down
    return mixed.T
