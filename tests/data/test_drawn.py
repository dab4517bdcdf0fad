from __future__ import annotations

import json

import numpy as np
import pytest

from jointdistill.data.cells import decode_image, decode_truth
from jointdistill.data.drawn import DrawnScenes, to_png16
from jointdistill.data.scenes.classes import CLASSES
from jointdistill.data.scenes.drawing import draw
from jointdistill.tasks.depth import Depth
from jointdistill.types import Refusal

SCENES = DrawnScenes(splits={"train": 3, "val": 2}, height=16, width=32, seed=5)


def test_a_row_holds_the_scene() -> None:
    row, frame = SCENES.row(2), draw(5, 2, 16, 32)
    assert (decode_image(row.image, 16, 32) == frame.image.transpose(2, 0, 1)).all()
    assert (decode_truth(row.truths["labels"] or b"") == frame.labels).all()
    assert json.loads(row.meta) == {"seed": 5, "number": 2}


def test_depth_is_kept_to_half_a_step() -> None:
    depth = Depth().decode(decode_truth(SCENES.row(0).truths["depth"] or b""), SCENES.card)[0]
    drawn = draw(5, 0, 16, 32).depth
    assert (np.isnan(depth) == (np.isnan(drawn) | (drawn > 255.99))).all()
    assert np.nanmax(np.abs(depth - drawn)) <= 1 / 512


@pytest.mark.parametrize(
    ("metres", "steps"), [(np.nan, 0), (1.0, 256), (255.99, 65533), (300.0, 0), (0.001, 0)]
)
def test_what_does_not_fit_is_unknown(metres: float, steps: int) -> None:
    assert to_png16(np.array([[metres]], np.float32)).tolist() == [[steps]]


def test_splits_share_no_scene_and_begin_with_a_street() -> None:
    train, val = SCENES.numbers("train"), SCENES.numbers("val")
    assert not set(train) & set(val)
    assert train[0] % 2 == val[0] % 2 == 0


def test_the_card_names_classes_and_scale() -> None:
    assert SCENES.card.classes == CLASSES
    assert SCENES.card.depth_scale == 256


@pytest.mark.parametrize("images", [0, 1_000_001])
def test_a_split_that_cannot_be_drawn_is_refused(images: int) -> None:
    with pytest.raises(Refusal, match="Split 'train'"):
        DrawnScenes(splits={"train": images})
