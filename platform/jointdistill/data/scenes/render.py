"""A scene through a camera: depth and labels from a pixel's centre, colour from the samples around it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .classes import LABEL
from .light import Shadows
from .noise import Floats
from .scene import Scene, Table
from .shade import Points, shade
from .sky import sky
from .trace import NOTHING, SURFACES, Hits, trace
from .views import Pinhole

FAR = 300.0
"""Metres beyond which everything is sky."""


CENTRES = np.s_[1::2, 1::2]
"""Of the samples, those at pixels' centres."""


class Samples(NamedTuple):
    """What all rays see, each array [2H + 1, 2W + 1]."""

    directions: Floats
    """[3, 2H + 1, 2W + 1]"""
    hits: Hits
    row: NDArray[np.int32]
    """In the scene's table."""
    seen: NDArray[np.bool_]
    """Whether there is anything nearer than FAR."""
    step: float
    """Distance of two pixels at depth 1."""


class Drawn(NamedTuple):
    """What an ideal camera records."""

    colour: Floats
    """[3, H, W] linear light."""
    depth: Floats
    """[H, W] planar metres, NaN in the sky."""
    labels: NDArray[np.uint8]
    """[H, W]"""


def render(scene: Scene, height: int, width: int) -> Drawn:
    """Draw a scene.

    Rays lie half a pixel apart. Where all nine of a pixel's samples see the same surface, its centre is
    shaded and stands for all; elsewhere each is, and a tent filter takes their mean: antialiasing for the
    price of the edges.
    """
    camera = scene.camera
    view = Pinhole.looking(camera.position, camera.angles, camera.focal, (height, width))
    table = Table.of(scene)
    directions = view.directions()
    hits = trace(view, scene.primitives)
    seen = hits.depth < FAR
    samples = Samples(directions, hits, _rows(hits, directions, scene), seen, 2 * view.step)
    edges = _edges(np.where(seen, samples.row * SURFACES + hits.surface % SURFACES, NOTHING))
    colour = _colour(scene, table, samples, edges)

    visible = seen[CENTRES]
    labels = table.label[samples.row[CENTRES]]
    return Drawn(
        colour=np.where(edges, _tent(colour), colour[:, *CENTRES]),
        depth=np.where(visible, hits.depth[CENTRES], np.float32(np.nan)),
        labels=np.where(visible, labels, np.uint8(LABEL["sky"])),
    )


def _colour(scene: Scene, table: Table, samples: Samples, edges: NDArray[np.bool_]) -> Floats:
    """[3, 2H + 1, 2W + 1] linear light at pixels' centres and around edges; 0 where nobody will ask."""
    wanted = _around(edges)
    wanted[CENTRES] = True
    colour = np.zeros_like(samples.directions)
    flat, rays = colour.reshape(3, -1), samples.directions.reshape(3, -1)
    solid, open_sky = np.flatnonzero(wanted & samples.seen), np.flatnonzero(wanted & ~samples.seen)
    points = Points(
        direction=rays.take(solid, 1),
        depth=samples.hits.depth.take(solid),
        row=samples.row.take(solid),
        surface=samples.hits.surface.take(solid) % SURFACES,
        step=samples.step,
    )
    sunny = any(scene.light.sun)
    shadows = Shadows(scene.light, scene.primitives, scene.focus, scene.reach) if sunny else None
    flat[:, solid] = shade(points, scene, table, shadows)
    flat[:, open_sky] = sky(scene.light, rays.take(open_sky, 1))
    return colour


def _rows(hits: Hits, directions: Floats, scene: Scene) -> NDArray[np.int32]:
    """[rows, columns] what each sample sees, as a row of the scene's table."""
    row = hits.surface // SURFACES
    if scene.ground is None:
        return row
    on_ground = row == len(scene.primitives) - 1
    depth = hits.depth[on_ground]
    x, y = (
        start + directions[axis][on_ground] * depth for axis, start in enumerate(scene.camera.position[:2])
    )
    row[on_ground] = scene.ground.zone(x, y) + len(scene.primitives)
    return row


def _edges(surface: NDArray[np.int32]) -> NDArray[np.bool_]:
    """[H, W] pixels whose nine samples do not all see the same surface."""
    across = surface[:, 1:] != surface[:, :-1]  # [2H + 1, 2W]
    down = surface[1:] != surface[:-1]  # [2H, 2W + 1]
    across = across[:, 0::2] | across[:, 1::2]  # [2H + 1, W] within a pixel's three columns
    down = down[0::2] | down[1::2]  # [H, 2W + 1]
    edges: NDArray[np.bool_] = across[:-1:2] | across[1::2] | across[2::2]
    edges |= down[:, :-1:2] | down[:, 1::2] | down[:, 2::2]
    return edges


def _around(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[2H + 1, 2W + 1] the samples that belong to pixels [H, W]."""
    height, width = pixels.shape
    samples = np.zeros((2 * height + 1, 2 * width + 1), np.bool_)
    for down in range(3):
        for along in range(3):
            samples[down : down + 2 * height : 2, along : along + 2 * width : 2] |= pixels
    return samples


def _tent(samples: Floats) -> Floats:
    """[3, H, W] means of samples [3, 2H + 1, 2W + 1], weighted 1 : 2 : 1 in both directions."""
    narrow = samples[..., :-1:2] + 2 * samples[..., 1::2] + samples[..., 2::2]
    means: Floats = (narrow[:, :-1:2] + 2 * narrow[:, 1::2] + narrow[:, 2::2]) / 16
    return means
