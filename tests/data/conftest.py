"""A data set of a few pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from jointdistill.data.cells import encode_png
from jointdistill.data.shards import Row
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Card

MakeRow = Callable[..., Row]


@pytest.fixture
def card() -> Card:
    return Card(name="tiny", classes=("floor", "cup"), depth_scale=100, height=4, width=6)


@pytest.fixture
def store() -> Store:
    return open_store("memory://")


@pytest.fixture
def row() -> MakeRow:
    """Make a frame whose every value follows from its number; cells may be given instead."""

    def make(number: int = 0, **cells: bytes | None) -> Row:
        image = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
        truths = {
            "depth": encode_png(np.full((4, 6), 100 + number, np.uint16)),
            "labels": encode_png(image[..., 0] // 128),
        }
        picture = cells.pop("image", None) or encode_png(image)
        return Row(f"frame-{number}", picture, truths | cells)

    return make
