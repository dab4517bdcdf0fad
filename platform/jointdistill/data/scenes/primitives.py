"""What scenes are made of: five convex shapes with a look, put together in parts.

The world is in metres: x ahead, y to the left, z up. Parts are made in a frame of their own, facing +x
and standing on z = 0, and `place` moves them into the world.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

Colour = tuple[float, float, float]
"""Red, green, blue as a screen shows them (gamma-encoded), 0..1; more for what shines."""

Vector = tuple[float, float, float]


class Shape(IntEnum):
    """All lie within ±half of their centre; only yaw turns them."""

    BOX = 0
    FRUSTUM = 1
    """A box whose top is smaller than its base: roofs, windscreens, lampshades."""
    CYLINDER = 2
    """Upright."""
    WHEEL = 3
    """A cylinder whose axis is its own y."""
    ELLIPSOID = 4


class Cutout(IntEnum):
    """Holes in a surface: thin structures for the price of one primitive."""

    SOLID = 0
    LEAVES = 1
    """Ragged towards the silhouette."""
    PICKETS = 2
    """Upright bars between two rails."""
    SPOKES = 3
    """A rim, a hub and four spokes."""


class Look(NamedTuple):
    """How a primitive looks, and what it is labelled as."""

    label: str
    colour: Colour
    texture: str = "plain"
    scale: float = 1.0
    """Tiles of the texture a metre."""
    accent: Colour | None = None
    """The texture's second colour, where it has one."""
    glow: Colour = (0.0, 0.0, 0.0)
    """Light of its own, where the texture lets it through."""
    gloss: float = 0.0
    """0 matt … 1 mirrors the sky at grazing angles."""
    phase: tuple[float, float] = (0.0, 0.0)
    """Shift of the texture in tiles, so that neighbours differ."""


class Primitive(NamedTuple):
    """One convex shape."""

    shape: Shape
    centre: Vector
    half: Vector
    """Half the extent along each of its own axes."""
    look: Look
    yaw: float = 0.0
    taper: tuple[float, float] = (1.0, 1.0)
    """Of a frustum: its top's extent ÷ its base's, along x and y."""
    cutout: Cutout = Cutout.SOLID
    casts: bool = True
    """Whether it throws a shadow."""


def box(centre: Vector, half: Vector, look: Look, yaw: float = 0.0) -> Primitive:
    """A box."""
    return Primitive(Shape.BOX, centre, half, look, yaw)


def frustum(centre: Vector, half: Vector, look: Look, taper: tuple[float, float]) -> Primitive:
    """A box that tapers towards its top; a taper of (1, 0) is a gable roof, (0, 0) a pyramid."""
    return Primitive(Shape.FRUSTUM, centre, half, look, taper=taper)


def cylinder(centre: Vector, radius: float, half_height: float, look: Look) -> Primitive:
    """An upright cylinder."""
    return Primitive(Shape.CYLINDER, centre, (radius, radius, half_height), look)


def wheel(centre: Vector, radius: float, half_width: float, look: Look) -> Primitive:
    """A wheel that rolls along its own x."""
    return Primitive(Shape.WHEEL, centre, (radius, half_width, radius), look)


def ellipsoid(centre: Vector, half: Vector, look: Look) -> Primitive:
    """An ellipsoid."""
    return Primitive(Shape.ELLIPSOID, centre, half, look)


def leaves(centre: Vector, half: Vector, look: Look) -> Primitive:
    """An ellipsoid of foliage, ragged at its edge."""
    return Primitive(Shape.ELLIPSOID, centre, half, look, cutout=Cutout.LEAVES)


def pickets(centre: Vector, half: Vector, look: Look, yaw: float = 0.0) -> Primitive:
    """A thin box along its own x, made of upright bars."""
    return Primitive(Shape.BOX, centre, half, look, yaw, cutout=Cutout.PICKETS)


def spokes(centre: Vector, radius: float, half_width: float, look: Look) -> Primitive:
    """A wheel one can look through."""
    return wheel(centre, radius, half_width, look)._replace(cutout=Cutout.SPOKES)


def place(
    parts: Iterable[Primitive], x: float, y: float, yaw: float = 0.0, z: float = 0.0
) -> list[Primitive]:
    """The parts of an object that stands at (x, y, z) and faces `yaw` (radians from +x towards +y)."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    placed = []
    for part in parts:
        ahead, left, up = part.centre
        centre = (x + cosine * ahead - sine * left, y + sine * ahead + cosine * left, z + up)
        placed.append(part._replace(centre=centre, yaw=part.yaw + yaw))
    return placed
