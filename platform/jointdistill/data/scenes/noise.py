"""Value noise that repeats, for textures, clouds and foliage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

OCTAVES = (4, 8, 16, 32, 64, 128)
GAIN = 0.6
"""Each octave's amplitude ÷ the one before."""


def value_noise(rng: np.random.Generator, size: int, cells: tuple[int, int]) -> Floats:
    """[size, size] smooth noise in 0..1 with so many cells down and across."""
    lattice = rng.random(cells, dtype=np.float32)
    for axis, count in enumerate(cells):
        position = np.arange(size, dtype=np.float32) * np.float32(count / size)
        cell = position.astype(np.intp)
        fraction = position - cell
        fraction = (fraction * fraction * (3 - 2 * fraction)).reshape((-1, 1) if axis == 0 else (1, -1))
        here, following = lattice.take(cell, axis), lattice.take((cell + 1) % count, axis)
        lattice = here + (following - here) * fraction
    return lattice


def fractal(rng: np.random.Generator, size: int, octaves: Sequence[int] = OCTAVES) -> Floats:
    """[size, size] octaves of value noise around 0, most of it in ±1.

    Scaled by known amplitudes and not by its own mean and deviation: the order in which a machine sums
    must not move the edge of a leaf.
    """
    total = np.zeros((size, size), np.float32)
    energy = 0.0
    for octave, cells in enumerate(octaves):
        amplitude = GAIN**octave
        total += np.float32(amplitude) * (value_noise(rng, size, (cells, cells)) - np.float32(0.5))
        energy += amplitude**2
    deviation = 0.22 * energy**0.5  # 0.22 is measured: the deviation of one octave of value noise
    return total / np.float32(2 * deviation)
