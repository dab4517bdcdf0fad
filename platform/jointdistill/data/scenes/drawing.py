"""One frame of the procedural data set."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jointdistill.types import Refusal

from .render import render
from .room import room
from .sensor import photograph
from .street import street

Kind = Literal["street", "room"]

_SCENES = {"street": street, "room": room}
_STREAM = 77
"""Keeps these draws apart from others that are seeded with the same numbers."""


class Frame(NamedTuple):
    """A picture with its truth."""

    image: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    depth: NDArray[np.float32]
    """[H, W] planar metres, 0.3 to 300; NaN in the sky."""
    labels: NDArray[np.uint8]
    """[H, W] places in CLASSES; every pixel has one."""


def draw(seed: int, index: int, height: int, width: int, *, kind: Kind | None = None) -> Frame:
    """The frame with this number: of a street where it is even, of a room where it is odd, unless told.

    A frame depends on its arguments alone, neither on other frames nor on any state, and its scene is the
    same at every size. Depth and labels came out equal to the bit under numpy 2.2 and 2.4, with and
    without vector instructions; colours may differ by a rounding elsewhere. Raises `Refusal` where a
    number is negative or a side has no pixels.
    """
    if min(seed, index) < 0 or min(height, width) < 1:
        asked = f"seed {seed}, index {index}, {height}x{width} pixels"
        raise Refusal(
            f"There is no such frame ({asked}); count from 0 and give both sides at least one pixel."
        )
    rng = np.random.default_rng([_STREAM, seed, index])
    scene = _SCENES[kind or ("street", "room")[index % 2]](rng)
    drawn = render(scene, height, width)
    image = photograph(rng, drawn.colour, scene.light.rain, scene.light.dark)
    return Frame(image, drawn.depth, drawn.labels)
