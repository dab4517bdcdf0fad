"""Trees, bushes, hedges and what grows in pots. Parts stand on z = 0 around the origin."""

from __future__ import annotations

import math

import numpy as np

from .dice import happens, paint
from .primitives import Look, Primitive, box, cylinder, frustum, leaves


def _foliage(rng: np.random.Generator) -> Look:
    """Leaves, now and then in autumn."""
    hue = (0.06, 0.14) if happens(rng, 0.12) else (0.19, 0.34)
    dark, light = paint(rng, hue, (0.45, 0.75), (0.32, 0.5)), paint(rng, hue, (0.4, 0.7), (0.48, 0.68))
    return Look("vegetation", dark, "leaf", rng.uniform(0.35, 0.7), light)


def _bark(rng: np.random.Generator) -> Look:
    return Look("vegetation", paint(rng, (0.05, 0.1), (0.2, 0.5), (0.25, 0.45)), "rough", 0.8)


def tree(rng: np.random.Generator) -> list[Primitive]:
    """A broad-leaved tree of 3 to 7 m, or a conifer."""
    height = rng.uniform(1.2, 2.6)
    look = _foliage(rng)
    trunk = cylinder((0, 0, height / 2 + 0.3), rng.uniform(0.1, 0.24), height / 2 + 0.3, _bark(rng))
    if happens(rng, 0.2):
        return [trunk, *_tiers(look, height, rng.uniform(0.9, 1.5))]
    crown = rng.uniform(1.0, 2.3)
    clouds = []
    turn = rng.uniform(0, 2 * math.pi)
    for branch in range(int(rng.integers(5, 9))):
        angle = turn + 2.4 * branch  # the golden angle, as branches grow
        away = crown * rng.uniform(0.35, 0.75) * (branch > 0)
        size = crown * rng.uniform(0.45, 0.75)
        up = height + crown * rng.uniform(0.3, 1.5)
        clouds.append(
            leaves((away * math.cos(angle), away * math.sin(angle), up), (size, size, 0.85 * size), look)
        )
    return [trunk, *clouds]


def _tiers(look: Look, height: float, width: float) -> list[Primitive]:
    """A conifer: tiers that shrink towards the top."""
    sizes = [(width * (1 - 0.26 * tier), 0.7 * height + 0.75 * tier * width) for tier in range(4)]
    return [leaves((0, 0, up), (size, size, 0.8 * width), look) for size, up in sizes]


def bush(rng: np.random.Generator) -> list[Primitive]:
    """Knee- to shoulder-high."""
    look, size = _foliage(rng), rng.uniform(0.35, 0.8)
    return [
        leaves(
            (rng.uniform(-size, size), rng.uniform(-size, size), 0.6 * size), (size, size, 0.8 * size), look
        )
        for _ in range(2)
    ]


def hedge(rng: np.random.Generator, length: float) -> list[Primitive]:
    """A clipped hedge along its own y."""
    half_height = rng.uniform(0.4, 0.9)
    look = _foliage(rng)
    tops = [
        leaves((0, along, 2 * half_height), (0.4, 1.1, 0.22), look)
        for along in np.arange(-length / 2 + 0.8, length / 2 - 0.5, 1.7).tolist()
    ]
    return [box((0, 0, half_height), (0.35, length / 2, half_height), look), *tops]


def potted(rng: np.random.Generator, look: Look) -> list[Primitive]:
    """A plant in a pot; `look` is the pot's."""
    size = rng.uniform(0.16, 0.3)
    green = _foliage(rng)._replace(scale=1.5)
    pot = frustum((0, 0, 0.7 * size), (0.8 * size, 0.8 * size, 0.7 * size), look, (1.2, 1.2))
    crowns = [
        leaves(
            (rng.normal(0, 0.3 * size), rng.normal(0, 0.3 * size), (2 + tier) * size),
            (size, size, 1.2 * size),
            green,
        )
        for tier in range(3)
    ]
    return [pot, *crowns]
