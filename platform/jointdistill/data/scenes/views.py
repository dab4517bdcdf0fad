"""Bundles of rays: through a lens for the camera, side by side for the sun."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .intersect import NEAR, Components
from .noise import Floats
from .primitives import Primitive, Vector

ROUNDING = 0.01
"""Samples by which a rectangle is widened, so that rounding takes nothing off its edge."""


class Bounds(NamedTuple):
    """Where primitives may appear in a view."""

    rectangle: NDArray[np.intp]
    """[P, 4] top, bottom, left, right in samples; empty where bottom ≤ top or right ≤ left."""
    nearest: Floats
    """[P] depth before which none of a primitive lies."""


@dataclass(frozen=True, eq=False)
class View(ABC):
    """A grid of rays. Depth is measured along the view's own axis: it is planar, not the ray's length."""

    position: Vector
    axes: tuple[Vector, Vector, Vector]
    """Forward, right, down; orthonormal."""
    step: float
    """Distance of two neighbouring samples: at depth 1 through a lens, in metres side by side."""
    rows: int
    columns: int

    @abstractmethod
    def rays(self, rectangle: Sequence[int], primitive: Primitive) -> tuple[Components, Components]:
        """Origin and direction of a rectangle's rays in a primitive's frame."""

    @abstractmethod
    def _extent(self, along: Floats, across: Floats) -> tuple[Floats, Floats]:
        """[P] least and greatest screen coordinate of corners [P, 8] with this depth and offset."""

    def bounds(self, corners: Floats) -> Bounds:
        """Rectangles around convex shapes with these corners [P, 8, 3]."""
        seen = (corners - np.asarray(self.position, np.float32)) @ np.asarray(self.axes, np.float32).T
        forward, right, down = np.moveaxis(seen, -1, 0)
        edges = []
        for across, samples in ((down, self.rows), (right, self.columns)):
            low, high = self._extent(forward, across)
            middle = (samples - 1) / 2
            edges.append(np.ceil(low / self.step + middle - ROUNDING).clip(0, samples))
            edges.append(np.floor(high / self.step + middle + ROUNDING + 1).clip(0, samples))
        rectangle = np.stack(edges, 1).astype(np.intp)
        rectangle[forward.max(1) < NEAR] = 0
        return Bounds(rectangle, forward.min(1))

    @cached_property
    def _grid(self) -> tuple[Floats, Floats]:
        """[rows, 1] and [columns] how far samples lie below and to the right of the view's axis."""
        down, right = (
            (np.arange(samples, dtype=np.float32) - np.float32((samples - 1) / 2)) * np.float32(self.step)
            for samples in (self.rows, self.columns)
        )
        return down[:, None], right

    def _spread(self, rectangle: Sequence[int], yaw: float) -> tuple[Components, Vector]:
        """How far a rectangle's samples lie from the view's axis, and the axis; in a frame with this yaw."""
        top, bottom, left, right = rectangle
        down, across = self._grid[0][top:bottom], self._grid[1][left:right]
        forward, rightward, downward = (turned(axis, -yaw) for axis in self.axes)
        x, y, z = (across * r + down * d for r, d in zip(rightward, downward, strict=True))
        return (x, y, z), forward


class Pinhole(View):
    """Rays from one point. Directions have a forward part of 1, so that their multiples are depths."""

    @classmethod
    def looking(cls, position: Vector, angles: Vector, focal: float, size: tuple[int, int]) -> Self:
        """A camera with yaw, pitch (up) and roll in radians.

        `focal` is in half image widths. The samples lie half a pixel apart, with every second one, from
        the first on, a pixel's centre; one more row and column close the grid: [2H + 1, 2W + 1].
        """
        height, width = size
        yaw, pitch, roll = angles
        forward = np.array(
            [math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch)]
        )
        level = np.array([math.sin(yaw), -math.cos(yaw), 0.0])
        upright = np.cross(forward, level)
        right = math.cos(roll) * level + math.sin(roll) * upright
        down = math.cos(roll) * upright - math.sin(roll) * level
        return cls(position, _axes(forward, right, down), 1 / (focal * width), 2 * height + 1, 2 * width + 1)

    def rays(self, rectangle: Sequence[int], primitive: Primitive) -> tuple[Components, Components]:
        """One origin, many directions."""
        spread, forward = self._spread(rectangle, primitive.yaw)
        x, y, z = (base + part for base, part in zip(forward, spread, strict=True))
        return _origin(self.position, primitive), (x, y, z)

    def directions(self) -> Floats:
        """[3, rows, columns] the direction of every ray in the world."""
        (x, y, z), forward = self._spread((0, self.rows, 0, self.columns), 0.0)
        return np.stack([part + base for part, base in zip((x, y, z), forward, strict=True)])

    def _extent(self, along: Floats, across: Floats) -> tuple[Floats, Floats]:
        nearest, farthest = along.min(1), np.maximum(along.max(1), NEAR)
        whole = np.maximum(along, NEAR)
        low, high = (across / whole).min(1), (across / whole).max(1)
        # A shape that reaches behind the lens: every visible point is a mean of its corners and lies
        # between NEAR and the farthest of them, which bounds the quotient, if loosely.
        least, most = across.min(1), across.max(1)
        loose_low = least / np.where(least < 0, NEAR, farthest)
        loose_high = most / np.where(most > 0, NEAR, farthest)
        behind = nearest < NEAR
        return np.where(behind, loose_low, low), np.where(behind, loose_high, high)


class Parallel(View):
    """Rays side by side."""

    @classmethod
    def facing(cls, towards: Vector, centre: Vector, extent: float, samples: int) -> Self:
        """A square of rays, `extent` metres wide, that come from the direction `towards` to `centre`."""
        forward = -np.asarray(towards)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        x, y, z = np.asarray(centre) - 2 * extent * forward
        axes = _axes(forward, right, np.cross(forward, right))
        return cls((float(x), float(y), float(z)), axes, extent / samples, samples, samples)

    def rays(self, rectangle: Sequence[int], primitive: Primitive) -> tuple[Components, Components]:
        """Many origins, one direction."""
        spread, forward = self._spread(rectangle, primitive.yaw)
        base = _origin(self.position, primitive)
        x, y, z = (start + part for start, part in zip(base, spread, strict=True))
        ahead, left, up = np.asarray(forward, np.float32)
        return (x, y, z), (ahead, left, up)

    def project(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Row and column in samples, and depth, of points [3, N]."""
        away = points - np.asarray(self.position, np.float32)[:, None]
        depth, right, down = np.asarray(self.axes, np.float32) @ away
        return down / self.step + (self.rows - 1) / 2, right / self.step + (self.columns - 1) / 2, depth

    def _extent(self, along: Floats, across: Floats) -> tuple[Floats, Floats]:
        return across.min(1), across.max(1)


def _axes(*vectors: NDArray[np.float64]) -> tuple[Vector, Vector, Vector]:
    """Three vectors as plain numbers, which leave float32 arrays float32."""
    forward, right, down = (tuple(vector.tolist()) for vector in vectors)
    return forward, right, down


def turned(vector: Sequence[float], yaw: float) -> Vector:
    """A vector turned about the vertical."""
    cosine, sine = math.cos(yaw), math.sin(yaw)
    return cosine * vector[0] - sine * vector[1], sine * vector[0] + cosine * vector[1], vector[2]


def _origin(position: Vector, primitive: Primitive) -> Components:
    """A point of the world in a primitive's frame."""
    away = [p - c for p, c in zip(position, primitive.centre, strict=True)]
    x, y, z = np.asarray(turned(away, -primitive.yaw), np.float32)
    return x, y, z
