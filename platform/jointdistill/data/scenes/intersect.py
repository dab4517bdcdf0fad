"""Where rays meet a primitive.

Rays come in the primitive's own frame as three components of origin and of direction, each an array or
a single number: a lens spreads the directions, the sun spreads the origins, and broadcasting does not
care. Every shape is convex, so a ray is inside between the last surface it enters and the first it leaves.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .noise import Floats, fractal
from .primitives import Cutout, Primitive, Shape, Vector

Number: TypeAlias = Floats | np.float32
Components: TypeAlias = tuple[Number, Number, Number]

NEAR = 0.3
"""Metres of depth before which nothing is seen."""

_NEVER = np.float32(np.inf)

X_SIDE, Y_SIDE, Z_SIDE, TUBE, TYRE, BALL = np.arange(6, dtype=np.int32)
"""Which surface was met: one of a box's pairs of sides, or the round part of a round shape."""


class Crossing(NamedTuple):
    """Multiples of the direction at which rays enter and leave; a miss leaves before it enters."""

    enter: Floats
    leave: Floats
    surface: NDArray[np.int32] | np.int32


def intersect(primitive: Primitive, origin: Components, direction: Components) -> Crossing:
    """Where rays cross a primitive; a ray along a surface divides by zero, and infinity compares well."""
    half = primitive.half
    if primitive.shape is Shape.BOX:
        x, y, z = (_slab(*along) for along in zip(origin, direction, half, strict=True))
        crossing = _sides(x, y, z)
    elif primitive.shape is Shape.FRUSTUM:
        x, y = (_leaning(primitive, axis, origin, direction) for axis in (0, 1))
        crossing = _sides(x, y, _slab(origin[2], direction[2], half[2]))
    elif primitive.shape is Shape.CYLINDER:
        crossing = _round(origin, direction, half, cap=2)
    elif primitive.shape is Shape.WHEEL:
        crossing = _round(origin, direction, half, cap=1)
    else:
        crossing = _ball(origin, direction, half)
    if primitive.cutout is Cutout.SOLID:
        return crossing
    holed = np.where(_kept(primitive, origin, direction, crossing), crossing.enter, _NEVER)
    return crossing._replace(enter=holed)


def lean(primitive: Primitive, axis: int) -> float:
    """How far a frustum's side moves inwards, a metre of height."""
    return (1 - primitive.taper[axis]) * primitive.half[axis] / (2 * primitive.half[2])


def _slab(origin: Number, direction: Number, half: float) -> tuple[Any, Any]:
    """Where rays enter and leave the space between two parallel planes at ±half."""
    inverse = 1 / direction
    one, other = (-half - origin) * inverse, (half - origin) * inverse
    return np.minimum(one, other), np.maximum(one, other)


def _leaning(primitive: Primitive, axis: int, origin: Components, direction: Components) -> tuple[Any, Any]:
    """Where rays enter and leave the space between two planes that lean towards each other."""
    inward = lean(primitive, axis)
    room = primitive.half[axis] * (1 + primitive.taper[axis]) / 2 - inward * origin[2]
    enters, leaves = [], []
    for sign in (1, -1):
        outward = sign * direction[axis] + inward * direction[2]
        met = (room - sign * origin[axis]) / outward
        enters.append(np.where(outward < 0, met, -_NEVER))
        leaves.append(np.where(outward < 0, _NEVER, met))
    return np.maximum(*enters), np.minimum(*leaves)


def _sides(x: tuple[Any, Any], y: tuple[Any, Any], z: tuple[Any, Any]) -> Crossing:
    """The common part of three slabs."""
    enter = np.maximum(np.maximum(x[0], y[0]), z[0])
    leave = np.minimum(np.minimum(x[1], y[1]), z[1])
    surface = np.where(enter == x[0], X_SIDE, np.where(enter == y[0], Y_SIDE, Z_SIDE))
    return Crossing(enter, leave, surface)


def _round(origin: Components, direction: Components, half: Vector, cap: int) -> Crossing:
    """A tube between two caps across the axis `cap`."""
    across = 3 - cap
    ox, oy = origin[0] / half[0], origin[across] / half[across]
    dx, dy = direction[0] / half[0], direction[across] / half[across]
    length = dx * dx + dy * dy
    apart = ox * dy - oy * dx  # of origin and axis; in float32 it keeps the digits that b² − ac loses
    middle, reach = -(ox * dx + oy * dy) / length, np.sqrt(length - apart * apart) / length
    enter_caps, leave_caps = _slab(origin[cap], direction[cap], half[cap])
    enter, leave = np.maximum(middle - reach, enter_caps), np.minimum(middle + reach, leave_caps)
    side, tube = (Z_SIDE, TUBE) if cap == 2 else (Y_SIDE, TYRE)
    return Crossing(enter, leave, np.where(enter == enter_caps, side, tube))


def _ball(origin: Components, direction: Components, half: Vector) -> Crossing:
    """An ellipsoid, in the frame in which it is the unit ball."""
    ox, oy, oz = (part / size for part, size in zip(origin, half, strict=True))
    dx, dy, dz = (part / size for part, size in zip(direction, half, strict=True))
    length = dx * dx + dy * dy + dz * dz
    apart = (oy * dz - oz * dy) ** 2 + (oz * dx - ox * dz) ** 2 + (ox * dy - oy * dx) ** 2
    middle, reach = -(ox * dx + oy * dy + oz * dz) / length, np.sqrt(length - apart) / length
    return Crossing(middle - reach, middle + reach, BALL)


# -- holes ---------------------------------------------------------------------------------------------

_GRAIN = np.clip(0.5 + 0.5 * fractal(np.random.default_rng(7), 256, (16, 32, 64)), 0, 1).ravel()
"""Noise in 0..1 that eats into foliage."""


def _kept(primitive: Primitive, origin: Components, direction: Components, crossing: Crossing) -> Any:
    """Where a primitive with holes is solid."""
    x, y, z = (start + crossing.enter * step for start, step in zip(origin, direction, strict=True))
    if primitive.cutout is Cutout.LEAVES:
        return _leafy(x, y, z, crossing, primitive.half[0])
    if primitive.cutout is Cutout.PICKETS:
        bar = np.mod(x, np.float32(0.16)) < 0.07
        rail = np.abs(np.abs(z) - 0.7 * primitive.half[2]) < 0.06 * primitive.half[2]
        return bar | rail
    radius = primitive.half[0]
    distance = x * x + z * z
    thin = 0.03 * radius
    return (
        (distance > (0.84 * radius) ** 2)
        | (distance < (0.15 * radius) ** 2)
        | (np.abs(x) < thin)
        | (np.abs(z) < thin)
    )


def _leafy(x: Floats, y: Floats, z: Floats, crossing: Crossing, size: float) -> NDArray[np.bool_]:
    """Solid where a ray stays inside for long enough, by a measure that noise moves.

    The middle of a crown lets no light through; towards its edge ever more of the noise cuts in.
    """
    hit = crossing.leave > crossing.enter
    u = np.where(hit, (x + 0.6 * z) * 48, 0).astype(np.int32) & 255
    v = np.where(hit, (y - 0.8 * z) * 48, 0).astype(np.int32) & 255
    chord = crossing.leave - crossing.enter
    kept: NDArray[np.bool_] = chord > _GRAIN.take(u + 256 * v) * (1.7 * size)
    return kept
