"""Which surface each ray meets first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .intersect import NEAR, intersect
from .noise import Floats
from .primitives import Primitive
from .views import View

SURFACES = 8
"""Codes a primitive has for its surfaces; `Hits.surface` is primitive × SURFACES + code."""

NOTHING = -1

_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)


class Hits(NamedTuple):
    """What the rays of a view meet."""

    depth: Floats
    """[rows, columns] planar metres, inf where there is nothing."""
    surface: NDArray[np.int32]
    """[rows, columns] primitive × SURFACES + the surface's code, or NOTHING."""


def trace(view: View, primitives: Sequence[Primitive]) -> Hits:
    """A depth buffer, filled from front to back, each primitive only inside the rectangle it can cover."""
    depth = np.full((view.rows, view.columns), np.inf, np.float32)
    surface = np.full((view.rows, view.columns), NOTHING, np.int32)
    rectangles, nearest = view.bounds(corners(primitives))
    boxes, distances = rectangles.tolist(), nearest.tolist()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for index in np.argsort(nearest, kind="stable").tolist():
            top, bottom, left, right = boxes[index]
            window = depth[top:bottom, left:right]
            if window.size == 0 or window.max() < distances[index]:
                continue  # out of sight, or behind what is drawn already
            enter, leave, code = intersect(primitives[index], *view.rays(boxes[index], primitives[index]))
            closer = (enter < leave) & (enter > NEAR) & (enter < window)
            np.copyto(window, enter, where=closer)
            np.copyto(surface[top:bottom, left:right], code + index * SURFACES, where=closer)
    return Hits(depth, surface)


def corners(primitives: Sequence[Primitive]) -> Floats:
    """[P, 8, 3] the corners of the boxes around primitives."""
    half = np.array([part.half for part in primitives], np.float32)
    yaw = np.array([part.yaw for part in primitives], np.float32)
    centre = np.array([part.centre for part in primitives], np.float32)
    own = _CORNERS * half[:, None]
    cosine, sine = np.cos(yaw)[:, None], np.sin(yaw)[:, None]
    x, y, z = own[..., 0], own[..., 1], own[..., 2]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y, z], -1) + centre[:, None]
