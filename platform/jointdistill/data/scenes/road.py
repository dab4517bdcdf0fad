"""The ground of a street: a bent road with kerbs, pavements, a side street and markings."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dice import grey, happens, paint
from .noise import Floats
from .primitives import Look

KERB = 0.18
"""Width of the kerb, metres."""

SIDE_STREET = 3.5
"""Half the width of the street that crosses."""


@dataclass(frozen=True)
class Road:
    """A road along y = bend · x², seen from x = 0. `across` is measured from its middle, to the left."""

    half_width: float
    pavement: float
    """Width of each pavement."""
    bend: float
    side_street: float
    """x of the middle of a street that crosses; infinite where none does."""
    looks: tuple[Look, Look, Look, Look]
    """Carriageway, kerb, pavement, verge."""

    @classmethod
    def laid(cls, rng: np.random.Generator, wet: float) -> Road:
        """A road of two or more lanes."""
        asphalt, slabs = grey(rng, 0.26, 0.48), grey(rng, 0.5, 0.75)
        chequer = paint(rng, (0, 0.12), (0, 0.2), (0.4, 0.75))
        grass = paint(rng, (0.2, 0.3), (0.4, 0.65), (0.35, 0.55))
        looks = (
            Look("road", asphalt, "rough", 0.25, gloss=wet),
            Look("sidewalk", grey(rng, 0.6, 0.75), "plain", 0.25, gloss=0.5 * wet),
            Look("sidewalk", slabs, "tiles", rng.uniform(0.3, 0.6), chequer, gloss=0.4 * wet),
            Look("terrain", grass, "grass", 0.3, paint(rng, (0.1, 0.2), (0.3, 0.5), (0.4, 0.6))),
        )
        side_street = rng.uniform(18, 45) if happens(rng, 0.4) else math.inf
        return cls(rng.uniform(3.3, 7.5), rng.uniform(1.8, 4), rng.uniform(-0.003, 0.003), side_street, looks)

    def spot(self, along: float, across: float) -> tuple[float, float, float]:
        """x, y and yaw of a place so many metres along and across the road."""
        slope = 2 * self.bend * along
        stretch = 1 / math.hypot(1, slope)
        return along - across * slope * stretch, self.bend * along**2 + across * stretch, math.atan(slope)

    def crossed(self, along: float, room: float = 0.0) -> bool:
        """Whether a place lies in the side street, or within `room` metres of it."""
        return abs(along - self.side_street) < SIDE_STREET + self.pavement + room

    def zone(self, x: Floats, y: Floats) -> NDArray[np.int32]:
        """0 carriageway, 1 kerb, 2 pavement, 3 verge."""
        beyond = np.minimum(self._aside(x, y), self._aside_of_side_street(x))
        edges = np.array([0, KERB, self.pavement], np.float32)
        return np.searchsorted(edges, beyond, side="right").astype(np.int32)

    def paint(self, x: Floats, y: Floats, blur: Floats) -> Floats:
        """Dashes in the middle, lines along the edges, a zebra before the side street."""
        across = y - np.float32(self.bend) * x * x
        clear = self._aside_of_side_street(x) > 1
        dashes = _line(across, 0.07, blur) * _line(np.mod(x, 6) - 3, 1.5, blur)
        edges = _line(np.abs(across) - np.float32(self.half_width - 0.35), 0.06, blur)
        cover = np.maximum(dashes, 0.8 * edges) * clear
        zebra = x - np.float32(self.side_street - SIDE_STREET - 2.2)
        stripes = _line(np.mod(across, 1.1) - np.float32(0.55), 0.28, blur) * _line(zebra, 1.5, blur)
        on_road = np.abs(across) < self.half_width - 0.2
        painted: Floats = np.maximum(cover, stripes) * on_road
        return painted

    def _aside(self, x: Floats, y: Floats) -> Floats:
        """Metres from the road's edge, negative on it."""
        aside: Floats = np.abs(y - np.float32(self.bend) * x * x) - np.float32(self.half_width)
        return aside

    def _aside_of_side_street(self, x: Floats) -> Floats:
        """Metres from the side street's edge, negative on it."""
        aside: Floats = np.abs(x - np.float32(self.side_street)) - np.float32(SIDE_STREET)
        return aside


def _line(distance: Floats, half_width: float, blur: Floats) -> Floats:
    """How much of a sample `blur` wide lies within a line, at a distance from its middle."""
    full = np.minimum(1, 2 * half_width / blur)
    share: Floats = np.clip((half_width - np.abs(distance)) / blur + 0.5, 0, 1) * full
    return share
