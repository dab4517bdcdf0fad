"""From what a ray meets to the light that comes back along it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .intersect import X_SIDE, Y_SIDE, Z_SIDE
from .light import Light, Shadows, lamplight, openness
from .noise import Floats
from .scene import Scene, Table
from .sky import gradient
from .textures import look_up

_NORMAL_AXES = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [1, 1, 1]], np.float32
).T  # [3, surfaces] the axes that a surface's normal has a part along, in the order of intersect's codes

_MARKING = np.float32(0.62)
"""Albedo of road markings."""


class Points(NamedTuple):
    """Samples that met something."""

    direction: Floats
    """[3, N] of the ray; multiplied by depth it leads from the camera to the point."""
    depth: Floats
    """[N]"""
    row: NDArray[np.int32]
    """[N] in the table."""
    surface: NDArray[np.int32]
    """[N] code of the surface."""
    step: float
    """Distance of two pixels at depth 1."""


def shade(points: Points, scene: Scene, table: Table, shadows: Shadows | None) -> Floats:
    """[3, N] linear light that arrives at the camera."""
    light, row = scene.light, points.row
    place = np.asarray(scene.camera.position, np.float32)[:, None] + points.direction * points.depth
    own = _turn(place - table.centre.take(row, 1), table.cosine.take(row), -table.sine.take(row))
    normal = _normals(own, points.surface, row, table)
    ray = points.direction / np.sqrt((points.direction * points.direction).sum(0))
    facing = np.clip(-(ray * normal).sum(0), 0.05, 1)
    blur = points.depth * np.float32(points.step) / np.sqrt(facing)

    tone, accent, glow = _texture(own, blur, points, table)
    base = table.colour.take(row, 1)
    albedo = (base + (table.accent.take(row, 1) - base) * accent) * tone
    if scene.ground is not None:
        _mark(albedo, place, blur, row, scene)

    sunlight = np.maximum(np.asarray(light.towards, np.float32) @ normal, 0)
    if shadows is not None:
        sunlight *= shadows.lit(place + normal * np.float32(0.03))
    skylight = (0.7 + 0.3 * normal[2]) * openness(place, normal, scene.lower, scene.upper)
    arriving = _column(light.ambient) * skylight + _column(light.sun) * sunlight
    if light.lamps:
        arriving += lamplight(light.lamps, place, normal)
    colour = albedo * arriving + table.glow.take(row, 1) * glow
    mirrored = ray + 2 * facing * normal
    colour += _gleam(mirrored, facing, sunlight, table.gloss.take(row), light)
    clear = np.exp(points.depth * np.float32(-1 / light.fog_m))
    fog = _column(light.horizon)
    arrived: Floats = fog + (colour - fog) * clear
    return arrived


def _turn(vectors: Floats, cosine: Floats, sine: Floats) -> Floats:
    """Vectors [3, N] turned about the vertical."""
    x, y, z = vectors
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, z])


def _normals(own: Floats, surface: NDArray[np.int32], row: NDArray[np.int32], table: Table) -> Floats:
    """[3, N] unit normals in the world, of places in the primitives' own frames."""
    normal = own * table.bend.take(row, 1) * _NORMAL_AXES.take(surface, 1)
    normal /= np.sqrt((normal * normal).sum(0)) + np.float32(1e-9)
    for axis, side in ((0, X_SIDE), (1, Y_SIDE)):
        normal[2] += table.lean[axis].take(row) * (surface == side)
    normal /= np.sqrt((normal * normal).sum(0)) + np.float32(1e-9)
    return _turn(normal, table.cosine.take(row), table.sine.take(row))


def _texture(own: Floats, blur: Floats, points: Points, table: Table) -> Floats:
    """[3, N] tone, accent and glow: each side is papered along its own two axes."""
    row, surface = points.row, points.surface
    across = np.where(surface == X_SIDE, own[1], own[0])
    across += np.where(surface > Z_SIDE, own[1], np.float32(0))  # round shapes: any direction will do
    up = np.where(surface == Z_SIDE, own[1], own[2])
    scale = table.scale.take(row)
    phase = table.phase.take(row, 1)
    return look_up(table.texture.take(row), across * scale + phase[0], up * scale + phase[1], blur * scale)


def _mark(albedo: Floats, place: Floats, blur: Floats, row: NDArray[np.int32], scene: Scene) -> None:
    """Paint the ground's markings onto its samples."""
    assert scene.ground is not None
    (on_ground,) = np.nonzero(row >= len(scene.primitives))
    cover = scene.ground.paint(place[0, on_ground], place[1, on_ground], blur[on_ground])
    albedo[:, on_ground] += (_MARKING - albedo[:, on_ground]) * cover


def _gleam(mirrored: Floats, facing: Floats, sunlight: Floats, gloss: Floats, light: Light) -> Floats:
    """[3, N] what glossy surfaces mirror: the sky, more so at grazing angles (Schlick), and the sun."""
    share = gloss * (0.06 + 0.94 * (1 - facing) ** 4)
    towards_sun = np.clip(np.asarray(light.towards, np.float32) @ mirrored, 0, 1)
    highlight = gloss * towards_sun**60 * (sunlight > 0)
    gleam: Floats = gradient(light, mirrored[2]) * share + _column(light.sun) * highlight
    return gleam


def _column(values: tuple[float, float, float]) -> Floats:
    """[3, 1] a colour that broadcasts over samples."""
    return np.asarray(values, np.float32)[:, None]
