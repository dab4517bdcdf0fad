"""The default data set: drawn scenes as stored frames."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import numpy as np
from numpy.typing import NDArray

from jointdistill.data.cells import encode_png
from jointdistill.data.scenes.classes import CLASSES, COLOURS
from jointdistill.data.scenes.drawing import draw
from jointdistill.data.shards import Row
from jointdistill.recipe import Recipe
from jointdistill.types import Card, Refusal

SCALE = 256
"""Steps a metre: 4 mm, and 16 bits reach 256 m. Cityscapes and KITTI store theirs so."""

_SPLIT_STRIDE = 1_000_000
"""Scene numbers a split. It is even, so that every split begins with a street."""


@final
@dataclass(frozen=True)
class DrawnScenes(Recipe):
    """Streets and rooms with exact depth and labels. The same knobs give the same data set."""

    name: str = "scenes"
    """It lies in data/NAME of the storage; another than `scenes` is trained on with --data."""
    splits: Mapping[str, int] = field(default_factory=lambda: {"train": 3000, "val": 500})
    """Split → images. A split grows without its first images changing, and no two share a scene."""
    height: int = 64
    """Pixels."""
    width: int = 128
    """Pixels."""
    seed: int = 0
    """Another seed draws other scenes."""
    feedback: float = 0.02
    """Share of the training split that is held out (`Card.feedback`)."""

    def __post_init__(self) -> None:
        for split, images in self.splits.items():
            if not 0 < images <= _SPLIT_STRIDE:
                raise Refusal(
                    f"Split '{split}' asks for {images} scenes: give a number in 1..{_SPLIT_STRIDE}."
                )

    @property
    def card(self) -> Card:
        """The data set's card, as yet without shards."""
        return Card(
            name=self.name,
            classes=CLASSES,
            colours=COLOURS,
            depth_scale=SCALE,
            height=self.height,
            width=self.width,
            feedback=self.feedback,
            notes=f"Drawn by jointdistill from seed {self.seed}; sky has no depth.",
        )

    def numbers(self, split: str) -> range:
        """The scenes of a split."""
        first = list(self.splits).index(split) * _SPLIT_STRIDE
        return range(first, first + self.splits[split])

    def row(self, number: int) -> Row:
        """Draw one scene."""
        frame = draw(self.seed, number, self.height, self.width)
        truths = {"depth": encode_png(to_png16(frame.depth)), "labels": encode_png(frame.labels)}
        meta = json.dumps({"seed": self.seed, "number": number})
        return Row(f"scene-{number:07d}", encode_png(frame.image), truths, meta)


def to_png16(metres: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth [H, W] in steps of 1/256 m; 0, that is unknown, where it is NaN or does not fit."""
    steps = np.rint(metres.astype(np.float64) * SCALE)
    fits = (steps >= 1) & (steps <= np.iinfo(np.uint16).max)  # False for NaN
    return np.where(fits, steps, 0).astype(np.uint16)
