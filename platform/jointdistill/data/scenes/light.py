"""What shines in a scene: the sun and its shadows, the sky, lamps, and the corners light does not reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .noise import Floats
from .primitives import Colour, Primitive, Vector
from .trace import trace
from .views import Parallel

SHADOW_SAMPLES = 320
"""Samples along the edge of the sun's depth map."""


class Lamp(NamedTuple):
    """A point that shines in all directions."""

    position: Vector
    power: Colour
    """Linear light at a distance of 1 m."""


@dataclass(frozen=True)
class Light:
    """Everything that shines; colours are linear."""

    towards: Vector
    """Unit vector to the sun, or to what stands in for it in a room."""
    sun: Colour
    ambient: Colour
    horizon: Colour
    zenith: Colour
    clouds: float = 0.5
    """0 a clear sky … 1 a cloudy one."""
    fog_m: float = np.inf
    """Metres after which 37 % of a colour are left."""
    wet: float = 0.0
    """How much the ground mirrors."""
    rain: float = 0.0
    """0 none … 1 a downpour."""
    dark: bool = False
    """Night: lamps and windows are lit."""
    lamps: tuple[Lamp, ...] = ()


class Shadows:
    """A depth map from the sun."""

    def __init__(self, light: Light, primitives: Sequence[Primitive], centre: Vector, extent: float) -> None:
        """Covers a square of `extent` metres around `centre`; beyond it, all is lit."""
        self._view = Parallel.facing(light.towards, centre, extent, SHADOW_SAMPLES)
        self._depth = trace(self._view, [part for part in primitives if part.casts]).depth
        # A sample stands for all its surroundings: without this a slope would shade itself.
        self._margin = 1.5 * self._view.step

    def lit(self, points: Floats) -> Floats:
        """[N] share of the sun that reaches points [3, N]: the mean of the four nearest samples."""
        row, column, depth = self._view.project(points)
        top, left = np.floor(row), np.floor(column)
        down, along = row - top, column - left
        last = SHADOW_SAMPLES - 1
        share = np.zeros_like(depth)
        for step_down, weight_down in ((0, 1 - down), (1, down)):
            for step_along, weight_along in ((0, 1 - along), (1, along)):
                y = np.clip(top + step_down, 0, last).astype(np.int32)
                x = np.clip(left + step_along, 0, last).astype(np.int32)
                open_sky = self._depth.take(y * SHADOW_SAMPLES + x) > depth - self._margin
                share += open_sky * (weight_down * weight_along)
        outside = (np.minimum(row, column) < 0) | (np.maximum(row, column) > last)
        return np.where(outside, np.float32(1), share)


def lamplight(lamps: Sequence[Lamp], points: Floats, normals: Floats) -> Floats:
    """[3, N] the light of all lamps on points and normals [3, N]."""
    total = np.zeros_like(points)
    for lamp in lamps:
        away = np.asarray(lamp.position, np.float32)[:, None] - points
        square = (away * away).sum(0)
        facing = np.maximum((away * normals).sum(0), 0) / np.sqrt(square + 1e-6)
        # A little light comes round every edge; the 0.3 m² keep a lamp from burning its own shade.
        total += np.asarray(lamp.power, np.float32)[:, None] * ((0.85 * facing + 0.15) / (square + 0.3))
    return total


def openness(points: Floats, normals: Floats, lower: Vector, upper: Vector) -> Floats:
    """[N] share of the ambient light that reaches points near the planes of an enclosing box.

    A plane darkens what stands at a right angle to it, the more the nearer: a cheap ambient occlusion.
    Infinite planes do nothing.
    """
    share = np.ones(points.shape[1], np.float32)
    for axis in range(3):
        across = 0.5 * (1 - np.abs(normals[axis]))
        for plane in (lower[axis], upper[axis]):
            if np.isfinite(plane):
                share *= 1 - across * np.exp(np.abs(points[axis] - np.float32(plane)) * np.float32(-3.5))
    return share
