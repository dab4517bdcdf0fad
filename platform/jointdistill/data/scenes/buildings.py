"""Houses, blocks and what stands between them. The front faces +x and lies at x = 0; y runs along it."""

from __future__ import annotations

import numpy as np

from .dice import grey, happens, paint, pick
from .plants import hedge
from .primitives import Colour, Look, Primitive, box, frustum, pickets, place

STOREY = 3.0
"""Metres; one row of windows in the texture of façades."""

_LAMPLIGHT: Colour = (1.0, 0.82, 0.5)


def _masonry(rng: np.random.Generator) -> Colour:
    """Brick reds, ochres, greys and whites."""
    return pick(
        rng,
        (
            paint(rng, (0.0, 0.06), (0.3, 0.6), (0.4, 0.7)),
            paint(rng, (0.08, 0.14), (0.15, 0.4), (0.6, 0.9)),
            grey(rng, 0.45, 0.9),
        ),
    )


def _windowed(rng: np.random.Generator, texture: str, storeys: int, lit: float) -> Look:
    """A wall with windows; the phase lines their rows up with the ground."""
    glow = tuple(lit * part for part in _LAMPLIGHT)
    rows = int(rng.integers(4)) / 4 + (storeys % 2) / 8
    glass = paint(rng, (0.5, 0.62), (0.1, 0.4), (0.2, 0.4))
    return Look(
        "building",
        _masonry(rng),
        texture,
        1 / (4 * STOREY),
        glass,
        (glow[0], glow[1], glow[2]),
        phase=(rng.random(), rows),
    )


def house(rng: np.random.Generator, width: float, lit: float) -> list[Primitive]:
    """One or two storeys under a gable, with a door and a chimney."""
    storeys = int(rng.integers(1, 3))
    half, depth, high = width / 2 - 0.3, rng.uniform(3, 5), storeys * STOREY
    tiles = Look("building", paint(rng, (0, 0.08), (0.2, 0.6), (0.25, 0.5)), "brick", 0.3, (0.2, 0.15, 0.13))
    taper = pick(rng, ((1.0, 0.0), (0.0, 1.0), (0.1, 0.3)))
    rise = rng.uniform(1.0, 1.8)
    door = Look("building", paint(rng, (0, 1), (0.3, 0.7), (0.2, 0.5)), "panel", 0.45)
    aside = rng.uniform(-0.6, 0.6) * half
    return [
        box((-depth, 0, high / 2), (depth, half, high / 2), _windowed(rng, "facade", storeys, lit)),
        frustum((-depth, 0, high + rise), (depth + 0.35, half + 0.35, rise), tiles, taper),
        box((0.03, aside, 1.05), (0.06, 0.55, 1.05), door),
        box((-depth, 0.5 * half, high + 1.6 * rise), (0.35, 0.35, 0.9), tiles),
    ]


def block(rng: np.random.Generator, width: float, lit: float) -> list[Primitive]:
    """Three to seven storeys, with a shop in the ground floor or a plinth."""
    storeys = int(rng.integers(3, 8))
    half, depth, high = width / 2, rng.uniform(4, 7), storeys * STOREY
    walls = _windowed(rng, pick(rng, ("facade", "facade", "ribbons")), storeys, lit)
    parts = [
        box((-depth, 0, high / 2), (depth, half, high / 2), walls),
        box((-depth, 0, high), (depth + 0.3, half + 0.1, 0.25), Look("building", grey(rng, 0.5, 0.8))),
    ]
    if happens(rng, 0.5):
        return parts + _shop(rng, half, lit)
    return [*parts, box((0, 0, 0.5), (0.12, half, 0.5), Look("building", grey(rng, 0.3, 0.6), "brick", 0.3))]


def _shop(rng: np.random.Generator, half: float, lit: float) -> list[Primitive]:
    """A front of glass under an awning."""
    glow = (0.6 * lit, 0.55 * lit, 0.45 * lit)
    front = Look(
        "building", grey(rng, 0.2, 0.6), "ribbons", 0.09, (0.2, 0.25, 0.28), glow, 0.7, (rng.random(), 0.5)
    )
    cloth = Look("building", paint(rng, (0, 1), (0.4, 0.9), (0.4, 0.8)), "stripes", 0.3, (0.9, 0.9, 0.88))
    return [
        box((0, 0, 1.45), (0.15, half, 1.45), front),
        frustum((0.2, 0, 2.9), (0.9, 0.9 * half, 0.25), cloth, (0.4, 1)),
    ]


def boundary(rng: np.random.Generator, width: float) -> list[Primitive]:
    """What closes off a plot without a house: a fence, a wall or a hedge."""
    kind = pick(rng, ("fence", "fence", "wall", "hedge"))
    if kind == "hedge":
        return hedge(rng, width)
    high = rng.uniform(0.45, 0.9)
    if kind == "wall":
        bricks = Look("wall", _masonry(rng), pick(rng, ("brick", "plaster")), 0.35, grey(rng, 0.5, 0.8))
        coping = Look("wall", grey(rng, 0.5, 0.7))
        return [
            box((0, 0, high), (0.15, width / 2, high), bricks),
            box((0, 0, 2 * high), (0.2, width / 2, 0.06), coping),
        ]
    timber = Look(
        "fence", pick(rng, (grey(rng, 0.7, 0.95), paint(rng, (0.05, 0.1), (0.3, 0.6), (0.3, 0.6)))), "plain"
    )
    return place([pickets((0, 0, high), (width / 2, 0.03, high), timber)], 0, 0, np.pi / 2)


def plot(rng: np.random.Generator, width: float, lit: float) -> list[Primitive]:
    """What lines a street, `width` metres of it. `lit` is the brightness of lit windows."""
    share = rng.random()
    if share < 0.42:
        return block(rng, width, lit)
    if share < 0.72:
        front = boundary(rng, width) if happens(rng, 0.3) else []
        return [*place(house(rng, width, lit), -2.5 if front else 0.0, 0), *front]
    return boundary(rng, width)
