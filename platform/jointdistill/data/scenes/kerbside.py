"""What stands along a pavement: street lamps, signs, traffic lights, masts and bollards; facing +x."""

from __future__ import annotations

import math

import numpy as np

from .dice import grey, paint, pick
from .primitives import Colour, Look, Primitive, box, cylinder, ellipsoid, place, wheel

LAMP_HEIGHT = 4.6
LAMP_REACH = 1.1
"""Metres from the post to the lamp, towards +x."""

_SIGNAL: tuple[Colour, ...] = ((1.0, 0.1, 0.08), (1.0, 0.7, 0.1), (0.1, 1.0, 0.4))


def _metal(rng: np.random.Generator) -> Look:
    return Look("pole", grey(rng, 0.2, 0.6), gloss=0.2)


def street_lamp(rng: np.random.Generator, lit: float) -> list[Primitive]:
    """A post with an arm; the lamp has a label of its own."""
    metal = _metal(rng)
    glow = (lit, 0.85 * lit, 0.6 * lit)
    return [
        cylinder((0, 0, LAMP_HEIGHT / 2), 0.07, LAMP_HEIGHT / 2, metal),
        box((LAMP_REACH / 2, 0, LAMP_HEIGHT), (LAMP_REACH / 2, 0.04, 0.04), metal),
        ellipsoid(
            (LAMP_REACH, 0, LAMP_HEIGHT - 0.08),
            (0.34, 0.17, 0.13),
            Look("lamp", (0.85, 0.85, 0.8), glow=glow),
        ),
    ]


def traffic_sign(rng: np.random.Generator, _lit: float) -> list[Primitive]:
    """A disc, a plate or a diamond on a post, facing those who come."""
    high, size = rng.uniform(1.9, 2.6), rng.uniform(0.28, 0.42)
    white: Colour = (0.92, 0.92, 0.9)
    ground, accent = pick(
        rng,
        (
            (white, (0.75, 0.05, 0.06)),
            ((0.05, 0.2, 0.6), white),
            ((0.95, 0.75, 0.05), (0.05, 0.05, 0.05)),
            ((0.7, 0.06, 0.06), white),
        ),
    )
    face = Look("sign", ground, "signboard", 0.5 / size, accent, gloss=0.2)
    plate = pick(
        rng,
        (
            wheel((0.09, 0, high), size, 0.02, face)._replace(yaw=math.pi / 2),
            box((0.09, 0, high), (0.02, size, size), face),
            box((0.09, 0, high), (0.02, 1.6 * size, 0.6 * size), face),
        ),
    )
    return [cylinder((0, 0, high / 2 + 0.2), 0.04, high / 2 + 0.2, _metal(rng)), plate]


def traffic_light(rng: np.random.Generator, _lit: float) -> list[Primitive]:
    """Three lamps in a case; by day, too, one of them is on."""
    metal = _metal(rng)
    case = Look("sign", (0.08, 0.09, 0.09))
    on = int(rng.integers(3))
    lenses = []
    for place_up, colour in enumerate(_SIGNAL):
        shining = 1.3 if place_up == on else 0.0
        glow = (shining * colour[0], shining * colour[1], shining * colour[2])
        dull = (0.3 * colour[0], 0.3 * colour[1], 0.3 * colour[2])
        lenses.append(
            ellipsoid((0.26, 0, 3.3 - 0.27 * place_up), (0.05, 0.1, 0.1), Look("sign", dull, glow=glow))
        )
    return [
        cylinder((0, 0, 1.75), 0.07, 1.75, metal),
        box((0.15, 0, 3.03), (0.12, 0.17, 0.45), case),
        *lenses,
    ]


def mast(rng: np.random.Generator, _lit: float) -> list[Primitive]:
    """A wooden mast with cross-bars."""
    timber = Look("pole", paint(rng, (0.05, 0.1), (0.1, 0.4), (0.25, 0.5)), "planks", 0.5)
    high = rng.uniform(5.5, 8)
    bars = [box((0, 0, high - 0.3 - 0.6 * tier), (0.05, 0.8, 0.05), timber) for tier in range(2)]
    return [cylinder((0, 0, high / 2), 0.11, high / 2, timber), *bars]


def bollards(rng: np.random.Generator, _lit: float) -> list[Primitive]:
    """Three in a row along y."""
    metal = _metal(rng)
    post = cylinder((0, 0, 0.45), 0.07, 0.45, metal)
    return [part for along in (-1.4, 0.0, 1.4) for part in place([post], 0, along)]
