"""Room on the floor: furniture stands where nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .furniture import Piece
from .primitives import Primitive, place

Rectangle = tuple[float, float, float, float]
"""Least x, greatest x, least y, greatest y."""

QUARTERS = (0.0, np.pi / 2, np.pi, -np.pi / 2)
"""The ways to face: +x, +y, −x, −y."""


@dataclass
class FloorPlan:
    """A floor from x = 0 to `length` and ±width / 2, and what is taken of it."""

    length: float
    width: float
    taken: list[Rectangle] = field(default_factory=list)

    def free(self, wanted: Rectangle) -> bool:
        """Whether a rectangle lies in the room and on nobody's feet."""
        left, right, near, far = wanted
        if left < 0 or right > self.length or near < -self.width / 2 or far > self.width / 2:
            return False
        return all(right < a or left > b or far < c or near > d for a, b, c, d in self.taken)

    def stand(self, piece: Piece, x: float, y: float, quarter: int) -> list[Primitive]:
        """The piece's parts at (x, y), facing one of the QUARTERS; nothing where there is no room."""
        depth, width = (piece.depth, piece.width) if quarter % 2 == 0 else (piece.width, piece.depth)
        wanted = (x - depth, x + depth, y - width, y + width)
        if not self.free(wanted):
            return []
        self.taken.append(wanted)
        return place(piece.parts, x, y, QUARTERS[quarter])

    def against_wall(self, rng: np.random.Generator, piece: Piece, tries: int = 12) -> list[Primitive]:
        """The piece with its back to the left, the right or the far wall."""
        for _ in range(tries):
            quarter = int(rng.integers(1, 4))
            back = piece.depth + 0.03
            if quarter == 2:
                spot = (self.length - back, rng.uniform(-0.5, 0.5) * self.width)
            else:
                side = -1 if quarter == 1 else 1
                spot = (rng.uniform(0, self.length), side * (self.width / 2 - back))
            if parts := self.stand(piece, *spot, quarter):
                return parts
        return []

    def anywhere(self, rng: np.random.Generator, piece: Piece, tries: int = 12) -> list[Primitive]:
        """The piece somewhere in the room."""
        for _ in range(tries):
            x, y = rng.uniform(0, self.length), rng.uniform(-0.5, 0.5) * self.width
            if parts := self.stand(piece, x, y, int(rng.integers(4))):
                return parts
        return []

    def around(
        self, pieces: Sequence[Piece], spot: tuple[float, float], reach: tuple[float, float]
    ) -> list[Primitive]:
        """Pieces on up to four sides of a spot, facing it; `reach` is their distance along x and y."""
        sides = ((-reach[0], 0.0, 0), (0.0, -reach[1], 1), (reach[0], 0.0, 2), (0.0, reach[1], 3))
        parts = []
        for piece, (x, y, quarter) in zip(pieces, sides, strict=False):
            parts += self.stand(piece, spot[0] + x, spot[1] + y, quarter)
        return parts
