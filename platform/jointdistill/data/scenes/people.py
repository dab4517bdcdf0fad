"""People, standing on z = 0 and facing +x."""

from __future__ import annotations

import numpy as np

from .dice import paint
from .primitives import Look, Primitive, cylinder, ellipsoid, frustum


def person(rng: np.random.Generator) -> list[Primitive]:
    """Somebody of 1.5 to 1.95 m in mid-stride."""
    tall = rng.uniform(0.85, 1.1)
    stride, broad = rng.uniform(0, 0.16), rng.uniform(0.9, 1.2)
    trousers = Look("person", paint(rng, (0, 1), (0, 0.5), (0.1, 0.5)), "cloth", 1)
    coat = Look("person", paint(rng, (0, 1), (0.1, 0.9), (0.15, 0.9)), "cloth", 1)
    skin = Look("person", paint(rng, (0.03, 0.08), (0.25, 0.6), (0.3, 0.9)))
    hair = Look("person", paint(rng, (0.03, 0.12), (0.2, 0.7), (0.05, 0.6)), "rough", 2)
    legs = [cylinder((side * stride, side * 0.1, 0.43), 0.085, 0.43, trousers) for side in (-1, 1)]
    arms = [
        ellipsoid((-side * stride, side * 0.25 * broad, 1.1), (0.075, 0.055, 0.34), coat) for side in (-1, 1)
    ]
    body = [
        frustum((0, 0, 1.1), (0.14, 0.18 * broad, 0.3), coat, (0.9, 1.1)),
        ellipsoid((0, 0, 1.38), (0.13, 0.22 * broad, 0.1), coat),
        ellipsoid((0.02, 0, 1.6), (0.1, 0.085, 0.13), skin),
        ellipsoid((-0.025, 0, 1.65), (0.105, 0.095, 0.11), hair),
    ]
    return [_grown(part, tall) for part in (*legs, *arms, *body)]


def rider(rng: np.random.Generator) -> list[Primitive]:
    """Somebody on a bicycle: higher up and leaning on the handlebars."""
    return [
        part._replace(centre=(part.centre[0] - 0.15, part.centre[1], part.centre[2] + 0.22))
        for part in person(rng)
    ]


def _grown(part: Primitive, factor: float) -> Primitive:
    """The same part of a taller body."""
    x, y, z = part.centre
    a, b, c = part.half
    return part._replace(
        centre=(x * factor, y * factor, z * factor), half=(a * factor, b * factor, c * factor)
    )
