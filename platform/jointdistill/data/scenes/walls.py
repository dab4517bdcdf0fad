"""A room's shell, and what hangs on its walls."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .dice import grey, happens, paint, pick, wood
from .primitives import Look, Primitive, Vector, box, cylinder, ellipsoid, place

THICK = 0.1


class Extent(NamedTuple):
    """A room from x = 0 to `length`, ±width / 2, up to `height`, metres."""

    length: float
    width: float
    height: float


class Face(NamedTuple):
    """One wall: what hangs on it is made facing +x and then placed and turned."""

    middle: tuple[float, float]
    yaw: float
    half: float
    """Half its length."""


def faces(room: Extent) -> tuple[Face, Face, Face]:
    """The right, the left and the far wall."""
    length, width, _ = room
    return (
        Face((length / 2, -width / 2), np.pi / 2, length / 2),
        Face((length / 2, width / 2), -np.pi / 2, length / 2),
        Face((length, 0), np.pi, width / 2),
    )


def shell(rng: np.random.Generator, room: Extent) -> list[Primitive]:
    """Floor, ceiling and walls with skirting boards; none of them throws a shadow."""
    length, width, height = room
    floor = Look("floor", wood(rng), pick(rng, ("planks", "planks", "tiles", "cloth")), rng.uniform(0.3, 0.7))
    floor = floor._replace(accent=grey(rng, 0.3, 0.9), gloss=rng.uniform(0, 0.3))
    walls = paint(rng, (0, 1), (0, 0.3), (0.5, 0.95))
    plain = Look("wall", walls, "plaster", 0.5)
    feature = Look(
        "wall",
        paint(rng, (0, 1), (0, 0.5), (0.35, 0.9)),
        pick(rng, ("brick", "stripes", "plaster")),
        0.5,
        walls,
    )
    half = (length / 2 + 1 + THICK, width / 2 + THICK)
    parts = [
        box((length / 2, 0, -THICK), (half[0], half[1], THICK), floor),
        box(
            (length / 2, 0, height + THICK),
            (half[0], half[1], THICK),
            Look("ceiling", grey(rng, 0.75, 0.95), "plaster", 0.3),
        ),
        box(
            (length + THICK, 0, height / 2),
            (THICK, half[1], height / 2),
            feature if happens(rng, 0.4) else plain,
        ),
        box((-1 - THICK, 0, height / 2), (THICK, half[1], height / 2), plain),
    ]
    skirting = Look("wall", grey(rng, 0.6, 0.95))
    for side in (-1, 1):
        look = feature if happens(rng, 0.2) else plain
        parts.append(
            box((length / 2, side * (width / 2 + THICK), height / 2), (half[0], THICK, height / 2), look)
        )
        parts.append(box((length / 2, side * width / 2, 0.05), (length / 2 + 1, 0.012, 0.05), skirting))
    parts.append(box((length, 0, 0.05), (0.012, width / 2, 0.05), skirting))
    return [part._replace(casts=False) for part in parts]


def window(rng: np.random.Generator, daylight: float) -> list[Primitive]:
    """A pane that shows the outside between curtains, which count as window. Faces +x from x = 0."""
    width, high, up = rng.uniform(0.45, 0.9), rng.uniform(0.45, 0.65), rng.uniform(1.4, 1.6)
    blue = rng.uniform(0, 0.35)
    light = ((1 - blue) * daylight, (1 - 0.4 * blue) * daylight, 1.08 * daylight)
    view = Look(
        "window", grey(rng, 0.8, 0.95), "outlook", 0.5 / max(width, high), (0.15, 0.25, 0.1), light, gloss=0.3
    )
    frame = Look("window", grey(rng, 0.7, 0.95))
    parts = [
        box((0, 0, up), (0.02, width, high), view),
        box((0.04, 0, up - high), (0.08, width + 0.06, 0.025), frame),
        box((0, 0, up + high), (0.04, width + 0.05, 0.03), frame),
        *(box((0, side * width, up), (0.04, 0.03, high), frame) for side in (-1, 1)),
    ]
    if happens(rng, 0.5):
        cloth = Look(
            "window", paint(rng, (0, 1), (0.05, 0.6), (0.4, 0.9)), "stripes", 1.2, grey(rng, 0.6, 0.9)
        )
        drop = up - 0.15 if happens(rng, 0.5) else high + 0.1
        for side in (-1, 1):
            parts.append(
                box((0.08, side * (width + 0.12), up + high + 0.05 - drop), (0.05, 0.2, drop), cloth)
            )
    return parts


def picture(rng: np.random.Generator) -> list[Primitive]:
    """A framed picture."""
    width, high, up = rng.uniform(0.15, 0.5), rng.uniform(0.15, 0.4), rng.uniform(1.35, 1.75)
    inks = [paint(rng, (0, 1), (0.2, 0.8), (0.3, 0.95)) for _ in range(2)]
    canvas = Look("picture", inks[0], "canvas", 0.5 / max(width, high), inks[1])
    frame = Look("picture", wood(rng), gloss=0.3)
    return [
        box((0.01, 0, up), (0.012, width + 0.03, high + 0.03), frame),
        box((0.02, 0, up), (0.01, width, high), canvas),
    ]


def door(rng: np.random.Generator) -> list[Primitive]:
    """A closed door in its frame."""
    leaf = Look("wall", wood(rng) if happens(rng, 0.6) else grey(rng, 0.6, 0.95), "panel", 0.49)
    frame = Look("wall", grey(rng, 0.6, 0.95))
    knob = Look("wall", grey(rng, 0.4, 0.8), gloss=0.7)
    return [
        box((0, 0, 1.02), (0.02, 0.43, 1.02), leaf),
        *(box((0, side * 0.47, 1.05), (0.04, 0.045, 1.05), frame) for side in (-1, 1)),
        box((0, 0, 2.08), (0.04, 0.5, 0.045), frame),
        ellipsoid((0.06, 0.36, 1.0), (0.03, 0.03, 0.03), knob),
    ]


def pendant(rng: np.random.Generator, height: float, shade: list[Primitive]) -> list[Primitive]:
    """A cord from the ceiling with a shade made around z = 0."""
    drop = rng.uniform(0.3, 0.6)
    cord = cylinder((0, 0, height - drop / 2), 0.008, drop / 2, Look("lamp", (0.1, 0.1, 0.1)))
    return [part._replace(casts=False) for part in (cord, *place(shade, 0, 0, 0, height - drop))]


def hung(parts: list[Primitive], face: Face, along: float) -> list[Primitive]:
    """Parts made around the origin, hung on a wall, `along` metres from its middle."""
    return place(parts, *_beside(face, along), face.yaw)


def before(face: Face, along: float, away: float, up: float) -> Vector:
    """A point `away` metres in front of a wall."""
    x, y = _beside(face, along)
    return x + away * np.cos(face.yaw), y + away * np.sin(face.yaw), up


def _beside(face: Face, along: float) -> tuple[float, float]:
    """`along` metres from a wall's middle."""
    (x, y), yaw, _ = face
    return x - along * np.sin(yaw), y + along * np.cos(yaw)
