import hashlib
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from jointdistill.data.scenes.classes import CLASSES, COLOURS
from jointdistill.data.scenes.drawing import Frame, draw
from jointdistill.data.scenes.light import Light
from jointdistill.data.scenes.primitives import (
    Look,
    Primitive,
    box,
    cylinder,
    ellipsoid,
    frustum,
    pickets,
    place,
    wheel,
)
from jointdistill.data.scenes.render import Drawn, render
from jointdistill.data.scenes.road import Road
from jointdistill.data.scenes.scene import Camera, Scene
from jointdistill.data.scenes.views import Bounds, View
from jointdistill.types import Refusal

GOLDEN = {
    0: "f065f14220d5feb7",
    1: "55a565c30114cfc9",
    2: "ba215d7e5aebd906",
    3: "81939a6f987f0ae1",
}

NOON = Light(
    towards=(0, 0.1, 0.995), sun=(1, 1, 1), ambient=(0.3, 0.3, 0.3), horizon=(1, 1, 1), zenith=(0, 0, 1)
)
GREY = Look("building", (0.5, 0.5, 0.5))
GROUND = box((0, 0, -1), (2000, 2000, 1), Look("road", (0.3, 0.3, 0.3)))


def scene(*parts: Primitive, height: float = 2.0, angles: tuple[float, float, float] = (0, 0, 0)) -> Scene:
    infinite = (math.inf, math.inf, math.inf)
    return Scene(parts, Camera((0, 0, height), angles, 1.0), NOON, (10, 0, 0), 40, infinite, infinite)


def fingerprint(frame: Frame) -> str:
    """Of depth to the centimetre and labels: what numpy's versions and processors agree on."""
    centimetres = np.where(np.isnan(frame.depth), -1, np.round(frame.depth * 100)).astype(np.int32)
    return hashlib.sha256(centimetres.tobytes() + frame.labels.tobytes()).hexdigest()[:16]


def seen_ahead(*parts: Primitive) -> Drawn:
    """A picture whose middle pixel looks straight along x, from 1 m above the ground."""
    return render(scene(*parts, height=1.0), 33, 65)


# -- frames --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", GOLDEN)
def test_depth_and_labels_are_what_they_were(index: int) -> None:
    assert fingerprint(draw(0, index, 32, 64)) == GOLDEN[index]


@pytest.mark.parametrize("index", range(8))
def test_shapes_types_and_ranges(index: int) -> None:
    frame = draw(5, index, 32, 64)
    assert [part.shape for part in frame] == [(32, 64, 3), (32, 64), (32, 64)]
    assert [part.dtype.name for part in frame] == ["uint8", "float32", "uint8"]
    sky = frame.labels == CLASSES.index("sky")
    assert np.array_equal(np.isnan(frame.depth), sky)
    assert np.all((frame.depth[~sky] >= 0.3) & (frame.depth[~sky] <= 300))
    assert frame.labels.max() < len(CLASSES)
    assert frame.image.std() > 10


@pytest.mark.parametrize(("index", "height"), [(-1, 32), (0, 0)])
def test_a_frame_that_cannot_be_is_refused(index: int, height: int) -> None:
    with pytest.raises(Refusal, match="no such frame"):
        draw(0, index, height, 64)


def test_classes_have_distinct_names_and_colours() -> None:
    assert len(CLASSES) == len(set(CLASSES)) == len(set(COLOURS)) == 24


def test_every_class_appears_in_forty_frames() -> None:
    seen = {int(label) for index in range(40) for label in np.unique(draw(0, index, 64, 128).labels)}
    assert {CLASSES[label] for label in seen} == set(CLASSES)


def test_an_index_says_street_or_room_unless_told() -> None:
    def indoors(frame: Frame) -> bool:
        return bool(np.isin(frame.labels, CLASSES.index("floor")).any())

    assert [indoors(draw(2, index, 32, 64)) for index in range(4)] == [False, True, False, True]
    assert indoors(draw(2, 0, 32, 64, kind="room"))
    assert not indoors(draw(2, 1, 32, 64, kind="street"))


def test_a_frame_depends_on_neither_order_nor_global_state() -> None:
    forwards = [draw(3, index, 32, 64) for index in range(4)]
    np.random.seed(0)  # noqa: NPY002 - the very state that must not matter
    backwards = [draw(3, index, 32, 64) for index in reversed(range(4))]
    for one, other in zip(forwards, reversed(backwards), strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)
    assert not np.array_equal(forwards[0].labels, draw(4, 0, 32, 64).labels)


def test_a_frame_is_the_same_in_another_process() -> None:
    command = (
        "import hashlib; from jointdistill.data.scenes.drawing import draw;"
        "print(hashlib.sha256(b''.join(part.tobytes() for part in draw(3, 6, 32, 64))).hexdigest())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    there = subprocess.run(
        [sys.executable, "-W", "error", "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    here = hashlib.sha256(b"".join(part.tobytes() for part in draw(3, 6, 32, 64))).hexdigest()
    assert there.stdout.strip() == here


# -- geometry ------------------------------------------------------------------------------------------


def test_depth_of_the_ground_is_planar_and_analytic() -> None:
    height, rows, columns = 2.0, 32, 64
    depth = render(scene(GROUND, height=height), rows, columns).depth
    below = (np.arange(rows) + 0.5 - rows / 2) / (columns / 2)  # image plane at depth 1, focal 1
    expected = np.where(below > height / 300, height / np.where(below > 0, below, 1), np.nan)
    np.testing.assert_allclose(depth, np.tile(expected[:, None], columns), rtol=1e-5)


def test_a_pitched_camera_sees_the_ground_where_it_should() -> None:
    pitch, rows, columns = -0.3, 32, 64
    depth = render(scene(GROUND, angles=(0.4, pitch, 0)), rows, columns).depth
    below = (np.arange(rows) + 0.5 - rows / 2) / (columns / 2)
    drop = below * math.cos(pitch) - math.sin(pitch)  # what a ray of forward part 1 loses in height
    expected = np.where(drop > 2 / 300, 2 / np.where(drop > 0, drop, 1), np.nan)
    np.testing.assert_allclose(depth, np.tile(expected[:, None], columns), rtol=1e-5)


def test_a_box_covers_its_projection_at_the_depth_of_its_front() -> None:
    rows, columns = 32, 64
    drawn = render(scene(box((11, 0, 2), (1, 2, 1.5), GREY)), rows, columns)
    across = np.abs((np.arange(columns) + 0.5 - columns / 2) / (columns / 2))
    up = np.abs((np.arange(rows) + 0.5 - rows / 2) / (columns / 2))
    inside = (up[:, None] < 1.5 / 10) & (across[None] < 2 / 10)
    np.testing.assert_allclose(drawn.depth, np.where(inside, 10, np.nan), rtol=1e-5)
    assert np.array_equal(drawn.labels == CLASSES.index("building"), inside)


@pytest.mark.parametrize(
    ("part", "distance"),
    [
        (ellipsoid((10, 0, 1), (2, 1, 1), GREY), 8.0),
        (cylinder((10, 0, 1), 2, 1, GREY), 8.0),
        (wheel((10, 0, 1), 2, 0.5, GREY), 8.0),
        (place([wheel((0, 0, 1), 2, 0.5, GREY)], 10, 0, math.pi / 2)[0], 9.5),
        (frustum((10, 0, 1), (2, 2, 1), GREY, (0.0, 1.0)), 9.0),  # halfway up a gable
        (place([frustum((0, 0, 1), (2, 2, 1), GREY, (0.5, 1.0))], 10, 0, math.pi)[0], 8.5),
        (box((10, 0, 1), (1, 1, 1), GREY, math.pi / 4), 10 - math.sqrt(2)),
    ],
)
def test_the_middle_ray_meets_each_shape_where_it_should(part: Primitive, distance: float) -> None:
    assert seen_ahead(part).depth[16, 32] == pytest.approx(distance, rel=1e-5)


def test_one_sees_through_a_fence() -> None:
    fence = place([pickets((0, 0, 1), (5, 0.03, 1), GREY)], 3, 0, math.pi / 2)
    labels = seen_ahead(*fence, box((20, 0, 0), (1, 50, 50), Look("sign", (1, 1, 1)))).labels[14:19]
    assert {CLASSES[label] for label in np.unique(labels)} == {"building", "sign"}


@pytest.mark.parametrize("index", range(4))
def test_rectangles_and_hiding_leave_nothing_out(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = draw(9, index, 32, 64)
    monkeypatch.setattr(View, "bounds", whole_view)
    slow = draw(9, index, 32, 64)
    np.testing.assert_array_equal(quick.depth, slow.depth)
    np.testing.assert_array_equal(quick.labels, slow.labels)


def whole_view(view: View, corners: np.ndarray) -> Bounds:
    count = len(corners)
    return Bounds(np.tile([0, view.rows, 0, view.columns], (count, 1)), np.full(count, -np.inf, np.float32))


# -- light ---------------------------------------------------------------------------------------------


def test_a_box_throws_its_shadow_away_from_the_sun() -> None:
    lit = seen_ahead(GROUND).colour[0]
    overhead = box((8, 0, 5), (2, 2, 0.1), GREY)  # above the picture, between the sun and the ground
    shaded = seen_ahead(GROUND, overhead).colour[0]
    row = 16 + 4  # the ground at 1 / (4 / 32.5) = 8.1 m
    assert shaded[row, 32] < 0.6 * lit[row, 32]
    assert shaded[row, 2] == pytest.approx(lit[row, 2], rel=1e-3)


def test_edges_are_antialiased_and_flat_surfaces_are_not_blurred() -> None:
    black, white = Look("wall", (0, 0, 0)), Look("sign", (0, 0, 0), glow=(1, 1, 1))
    wide = 10 * 6.2 / 32.5  # at a distance of 10 m its edge falls into the sixth pixel from the middle
    panel, backdrop = box((11, 0, 1), (1, wide, 1), white), box((30, 0, 1), (1, 90, 90), black)
    middle = seen_ahead(panel, backdrop).colour[0, 16, 32:].round(4)
    np.testing.assert_array_equal(middle[:6], middle[0])
    np.testing.assert_array_equal(middle[8:], 0)
    assert 0.3 * middle[0] < middle[6] < 0.9 * middle[0]


def test_a_road_has_its_zones_in_order() -> None:
    road = Road.laid(np.random.default_rng(1), wet=0.0)
    x = np.zeros(4, np.float32)
    beyond = np.array([-1, 0.1, road.pavement - 0.1, road.pavement + 0.1], np.float32)
    assert road.zone(x, road.half_width + beyond).tolist() == [0, 1, 2, 3]
    assert road.zone(x, -road.half_width - beyond).tolist() == [0, 1, 2, 3]
