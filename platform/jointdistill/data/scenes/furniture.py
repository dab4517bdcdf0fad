"""Furniture, standing on z = 0 with its back to −x, and how much of the floor it takes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .dice import grey, happens, paint, pick, wood
from .plants import potted
from .primitives import Look, Primitive, box, cylinder, ellipsoid, frustum, pickets, place


class Piece(NamedTuple):
    """A piece of furniture."""

    parts: list[Primitive]
    depth: float
    """Half its extent along x, metres."""
    width: float
    """Half its extent along y."""


def _timber(rng: np.random.Generator, label: str) -> Look:
    """Wood, or paint over it."""
    colour = wood(rng) if happens(rng, 0.7) else grey(rng, 0.15, 0.95)
    return Look(label, colour, "planks", 0.6, gloss=rng.uniform(0, 0.25))


def _cloth(rng: np.random.Generator, label: str) -> Look:
    colour, accent = paint(rng, (0, 1), (0.05, 0.6), (0.2, 0.85)), paint(rng, (0, 1), (0, 0.5), (0.3, 0.9))
    return Look(
        label, colour, pick(rng, ("cloth", "cloth", "weave", "stripes")), rng.uniform(0.6, 1.5), accent
    )


def _legs(look: Look, depth: float, width: float, height: float, thick: float) -> list[Primitive]:
    """Four of them, at the corners."""
    half = height / 2
    return [box((x, y, half), (thick, thick, half), look) for x in (-depth, depth) for y in (-width, width)]


def table(rng: np.random.Generator) -> Piece:
    """A rectangular table on legs or a round one on a foot, with something on it."""
    look = _timber(rng, "table")
    high = pick(rng, (0.45, 0.74, 0.74))
    if happens(rng, 0.3):
        radius = rng.uniform(0.4, 0.65)
        parts = [
            cylinder((0, 0, high), radius, 0.02, look),
            cylinder((0, 0, high / 2), 0.05, high / 2, look),
            cylinder((0, 0, 0.02), 0.6 * radius, 0.02, look),
        ]
        return Piece(parts + _clutter(rng, high + 0.02, 0.5 * radius), radius, radius)
    depth, width = rng.uniform(0.35, 0.5), rng.uniform(0.5, 0.95)
    parts = [
        box((0, 0, high), (depth, width, 0.02), look),
        box((0, 0, high - 0.06), (depth - 0.05, width - 0.05, 0.04), look),
        *_legs(look, depth - 0.05, width - 0.05, high - 0.02, 0.03),
    ]
    return Piece(parts + _clutter(rng, high + 0.02, 0.6 * depth), depth, width)


def _clutter(rng: np.random.Generator, up: float, room: float) -> list[Primitive]:
    """What lies about on a table: it counts as table."""
    parts = []
    for _ in range(int(rng.integers(0, 4))):
        look = Look("table", paint(rng, (0, 1), (0.1, 0.8), (0.2, 0.95)), gloss=0.3)
        x, y = rng.uniform(-room, room), rng.uniform(-room, room)
        kind = rng.integers(3)
        if kind == 0:
            parts.append(box((x, y, up + 0.025), (0.09, 0.13, 0.025), look, rng.uniform(0, 3)))
        elif kind == 1:
            parts.append(cylinder((x, y, up + 0.06), 0.045, 0.06, look))
        else:
            parts.append(ellipsoid((x, y, up + 0.06), (0.11, 0.11, 0.06), look))
    return parts


def chair(rng: np.random.Generator) -> Piece:
    """A wooden chair with a solid or a barred back, or an upholstered one."""
    look = _timber(rng, "chair")
    seat = _cloth(rng, "chair") if happens(rng, 0.5) else look
    high = rng.uniform(0.22, 0.3)
    back = pickets if happens(rng, 0.5) else box
    parts = [
        box((0, 0, 0.45), (0.22, 0.22, 0.025), seat),
        *place([back((0, 0, 0), (0.21, 0.018, high), look)], -0.21, 0, np.pi / 2, 0.48 + high),
        *_legs(look, 0.19, 0.19, 0.44, 0.02),
    ]
    return Piece(parts, 0.24, 0.24)


def bed(rng: np.random.Generator) -> Piece:
    """A bed with its head at −x."""
    frame, cover = _timber(rng, "bed"), _cloth(rng, "bed")
    sheet = Look("bed", grey(rng, 0.8, 0.95), "cloth")
    width = pick(rng, (0.5, 0.7, 0.85))
    pillow = frustum((-0.72, 0, 0.6), (0.2, 0.75 * width, 0.08), sheet, (0.7, 0.85))
    parts = [
        box((0, 0, 0.2), (1.02, width, 0.12), frame),
        box((-1.0, 0, 0.5), (0.03, width, 0.5), frame),
        box((0, 0, 0.4), (0.97, width - 0.03, 0.12), sheet),
        frustum((0.28, 0, 0.46), (0.73, width, 0.12), cover, (0.97, 0.93)),
        pillow,
    ]
    return Piece(parts, 1.05, width)


def cabinet(rng: np.random.Generator) -> Piece:
    """A sideboard or a wardrobe with doors."""
    look = _timber(rng, "cabinet")._replace(texture="panel", scale=1.0)
    half, width, depth = pick(rng, (0.4, 0.45, 0.95)), rng.uniform(0.35, 0.8), rng.uniform(0.2, 0.3)
    knob = Look("cabinet", grey(rng, 0.3, 0.9), gloss=0.6)
    front = look._replace(scale=0.5 / half)
    parts = [box((0, 0, half), (depth, width, half), look._replace(texture="planks", scale=0.6))]
    for side in (-0.5, 0.5):
        parts.append(box((depth, side * width, half + 0.02), (0.015, 0.48 * width, 0.94 * half), front))
        parts.append(ellipsoid((depth + 0.03, 0.16 * side * width, half + 0.05), (0.025, 0.025, 0.025), knob))
    return Piece(parts, depth + 0.05, width)


def shelf(rng: np.random.Generator) -> Piece:
    """A bookcase."""
    look = _timber(rng, "cabinet")
    width, boards = rng.uniform(0.4, 0.7), int(rng.integers(3, 6))
    high = 0.38 * boards
    parts = [box((-0.14, 0, high / 2), (0.01, width, high / 2), look)]
    parts += [box((0, side, high / 2), (0.15, 0.015, high / 2), look) for side in (-width, width)]
    for board in range(boards + 1):
        parts.append(box((0, 0, 0.02 + 0.38 * board * 0.98), (0.15, width, 0.015), look))
    for board in range(boards):
        colours = paint(rng, (0, 1), (0.2, 0.8), (0.2, 0.8)), paint(rng, (0, 1), (0.2, 0.8), (0.2, 0.8))
        spines = Look("cabinet", colours[0], "books", 1 / 1.2, colours[1], phase=(rng.random(), 0))
        filled = width * rng.uniform(0.4, 0.95)
        row = box(
            (-0.02, width - filled - 0.02, 0.17 + 0.3724 * board),
            (0.1, filled, rng.uniform(0.1, 0.14)),
            spines,
        )
        parts.append(row)
    return Piece(parts, 0.16, width + 0.02)


def sofa(rng: np.random.Generator) -> Piece:
    """An armchair or a sofa for two or three."""
    look = _cloth(rng, "sofa")
    seats = int(rng.integers(1, 4))
    width = 0.16 + 0.31 * seats
    parts = [
        box((0, 0, 0.2), (0.42, width, 0.16), look),
        frustum((-0.34, 0, 0.52), (0.14, width, 0.32), look, (0.7, 0.98)),
        *(box((0.02, side * (width - 0.08), 0.36), (0.42, 0.09, 0.24), look) for side in (-1, 1)),
    ]
    for seat in range(seats):
        y = 0.6 * (seat - (seats - 1) / 2)
        parts.append(box((0.08, y, 0.41), (0.34, 0.28, 0.07), look._replace(phase=(rng.random(), 0.3))))
    if happens(rng, 0.6):
        y = rng.uniform(-0.4, 0.4) * width
        parts.append(ellipsoid((-0.12, y, 0.6), (0.1, 0.22, 0.17), _cloth(rng, "sofa")))
    return Piece(parts, 0.46, width)


def floor_lamp(rng: np.random.Generator, lit: float) -> Piece:
    """A shade on a stand."""
    look = Look("lamp", grey(rng, 0.1, 0.6), gloss=0.4)
    high = rng.uniform(1.3, 1.7)
    parts = [
        cylinder((0, 0, 0.015), 0.14, 0.015, look),
        cylinder((0, 0, high / 2), 0.015, high / 2, look),
        *shade(rng, high, lit),
    ]
    return Piece(parts, 0.2, 0.2)


def shade(rng: np.random.Generator, up: float, lit: float) -> list[Primitive]:
    """A lampshade; `lit` is how bright."""
    colour = paint(rng, (0.05, 0.15), (0.05, 0.5), (0.7, 0.95))
    look = Look("lamp", colour, "cloth", 1, glow=(lit, 0.86 * lit, 0.62 * lit))
    size = rng.uniform(0.14, 0.22)
    if happens(rng, 0.3):
        return [ellipsoid((0, 0, up), (size, size, size), look)]
    return [frustum((0, 0, up), (size, size, 0.8 * size), look, (0.6, 0.6))]


def pot_plant(rng: np.random.Generator) -> Piece:
    """A plant on the floor."""
    return Piece(potted(rng, Look("vegetation", paint(rng, (0, 0.12), (0.1, 0.6), (0.4, 0.9)))), 0.25, 0.25)
