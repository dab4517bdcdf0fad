"""A scene: what stands where, who looks at it, in which light."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .classes import LABEL
from .intersect import lean
from .light import Light
from .noise import Floats
from .primitives import Look, Primitive, Shape, Vector
from .textures import TEXTURE

GAMMA = 2.2
"""Looks are given as a screen shows them; light adds up in linear values, their GAMMA-th power."""


class Camera(NamedTuple):
    """Where the camera stands and where it looks."""

    position: Vector
    angles: Vector
    """Yaw, pitch (up) and roll in radians."""
    focal: float
    """In half image widths: 1 sees 90° across."""


class Ground(Protocol):
    """The painted plane z = 0."""

    @property
    def looks(self) -> Sequence[Look]:
        """What its zones look like."""

    def zone(self, x: Floats, y: Floats) -> NDArray[np.int32]:
        """Which of the looks lies at points of the plane."""

    def paint(self, x: Floats, y: Floats, blur: Floats) -> Floats:
        """How much of a sample `blur` metres wide is covered by white markings."""


@dataclass(frozen=True)
class Scene:
    """One picture's world."""

    primitives: Sequence[Primitive]
    """The last one is the ground, where there is one."""
    camera: Camera
    light: Light
    focus: Vector
    """The middle of what the sun's shadows are drawn for."""
    reach: float
    """The width of it, metres."""
    lower: Vector
    upper: Vector
    """The box around the scene whose planes keep ambient light off; infinite where there is none."""
    ground: Ground | None = None


@dataclass(frozen=True)
class Table:
    """What shading asks of primitives, a row each; the ground's zones follow as further rows."""

    label: NDArray[np.uint8]
    centre: Floats
    """[3, R]"""
    cosine: Floats
    sine: Floats
    bend: Floats
    """[3, R] 1 ÷ half², which turns a place on a round surface into its normal."""
    lean: Floats
    """[2, R] the upward part of the normal of a frustum's sides."""
    colour: Floats
    accent: Floats
    glow: Floats
    """[3, R] linear."""
    texture: NDArray[np.int32]
    scale: Floats
    phase: Floats
    """[2, R]"""
    gloss: Floats

    @classmethod
    def of(cls, scene: Scene) -> Table:
        """The rows of a scene."""
        rows = list(scene.primitives)
        if scene.ground is not None:
            rows += [rows[-1]._replace(look=look) for look in scene.ground.looks]
        yaw = np.array([row.yaw for row in rows], np.float32)
        half = np.array([row.half for row in rows], np.float32).T
        slopes = [[lean(row, axis) if row.shape is Shape.FRUSTUM else 0.0 for row in rows] for axis in (0, 1)]
        looks = [row.look for row in rows]
        return cls(
            label=np.array([LABEL[look.label] for look in looks], np.uint8),
            centre=np.array([row.centre for row in rows], np.float32).T,
            cosine=np.cos(yaw),
            sine=np.sin(yaw),
            bend=np.float32(1) / (half * half),
            lean=np.array(slopes, np.float32),
            colour=np.array([look.colour for look in looks], np.float32).T ** np.float32(GAMMA),
            accent=np.array([look.accent or look.colour for look in looks], np.float32).T
            ** np.float32(GAMMA),
            glow=np.array([look.glow for look in looks], np.float32).T ** np.float32(GAMMA),
            texture=np.array([TEXTURE[look.texture] for look in looks], np.int32),
            scale=np.array([look.scale for look in looks], np.float32),
            phase=np.array([look.phase for look in looks], np.float32).T,
            gloss=np.array([look.gloss for look in looks], np.float32),
        )
