from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics import MeanAbsolutePercentageError, MeanSquaredError

from jointdistill.tasks.depth import Depth
from jointdistill.types import Card, Refusal
from jointdistill.warp import Warp

CARD = Card("rooms", depth_scale=1000.0)
DEPTH = Depth(min_m=0.5, max_m=20.0)


def some_depth(seed: int, shape: tuple[int, ...] = (4, 1, 9, 11)) -> Tensor:
    """Metres within DEPTH's range."""
    share = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return 0.6 + 19 * share**2


def with_holes(depth: Tensor) -> Tensor:
    """About a third unknown: NaN, too near or too far."""
    kind = torch.randint(0, 9, depth.shape, generator=torch.Generator().manual_seed(3))
    for value, hole in enumerate((math.nan, 0.1, 30.0)):
        depth = torch.where(kind == value, hole, depth)
    return depth


def test_integers_are_scaled_and_0_is_unknown() -> None:
    decoded = DEPTH.decode(np.array([[0, 500], [1234, 65535]], np.uint16), CARD)
    np.testing.assert_allclose(decoded, [[[np.nan, 0.5], [1.234, 65.535]]], rtol=1e-6)
    assert decoded.dtype == np.float32


def test_floats_are_metres() -> None:
    decoded = DEPTH.decode(np.array([[np.nan, 2.5]], np.float64), CARD)
    np.testing.assert_array_equal(decoded, np.array([[[np.nan, 2.5]]], np.float32))


@pytest.mark.parametrize("value", [np.inf, -np.inf, 0.0, -1.0])
def test_a_float_that_is_no_distance_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="1 depths are 0, negative or infinite: store NaN"):
        DEPTH.decode(np.array([[1.0, value]]), CARD)


def test_a_negative_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        DEPTH.decode(np.array([[-1, 3]], np.int32), CARD)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[H, W\], not as \[2, 3, 1\]"):
        DEPTH.decode(np.ones((2, 3, 1)), CARD)


@pytest.mark.parametrize(
    "knobs",
    [{"min_m": 0.0}, {"min_m": 90.0}, {"silog": 0.0, "log_l1": 0.0}, {"log_l1": -1.0}, {"focus": 2.0}],
)
def test_impossible_knobs_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(Refusal, match="Depth needs"):
        Depth(**knobs)


def test_a_view_twice_as_large_stands_at_half_the_distance() -> None:
    depth = with_holes(some_depth(0))
    zoom = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]]).repeat(4, 1, 1)
    view = DEPTH.warp(depth, Warp(zoom), (18, 22))  # the upper left quarter, each pixel four times as wide
    wide = depth.repeat_interleave(4, -2).repeat_interleave(4, -1)[..., :18, :22]
    torch.testing.assert_close(view, wide / 2, equal_nan=True)


def test_a_mirror_keeps_distances() -> None:
    depth = with_holes(some_depth(0))
    mirror = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).repeat(4, 1, 1)
    torch.testing.assert_close(DEPTH.warp(depth, Warp(mirror), (9, 11)), depth.flip(-1), equal_nan=True)


def test_raw_0_is_the_middle_of_the_range_and_the_slope_there_is_1() -> None:
    raw = torch.zeros(1, 1, 1, 1, requires_grad=True)
    depth = Depth().answer(raw)
    (slope,) = torch.autograd.grad(depth.log().sum(), raw)
    assert float(depth.detach()) == pytest.approx(math.sqrt(0.1 * 80), rel=1e-6)
    assert float(slope) == pytest.approx(1, rel=1e-6)


def test_an_answer_stays_in_its_range() -> None:
    depth = DEPTH.answer(torch.tensor([-1e4, -3.0, 3.0, 1e4]).view(4, 1, 1, 1)).flatten()
    assert (depth.diff() > 0).all()
    assert float(depth[0]) == pytest.approx(0.5, rel=1e-5)
    assert float(depth[3]) == pytest.approx(20.0, rel=1e-5)


def test_the_loss_is_as_printed() -> None:
    answer, truth = some_depth(0), with_holes(some_depth(1))
    depth = Depth(0.5, 20.0, silog=10.0, log_l1=0.3, focus=0.85)
    for loss, one, other in zip(depth.loss(answer, truth), answer.numpy(), truth.numpy(), strict=True):
        known = (other >= 0.5) & (other <= 20)
        gap = np.log(one[known]) - np.log(other[known])
        silog = np.sqrt((gap**2).mean() - 0.85 * gap.mean() ** 2)
        assert float(loss) == pytest.approx(10 * silog + 0.3 * np.abs(gap).mean(), rel=2e-3)


def test_a_focus_of_1_forgives_the_scale() -> None:
    truth = some_depth(1) / 2
    forgiving, strict = Depth(log_l1=0.0, focus=1.0), Depth(log_l1=0.0, focus=0.0)
    torch.testing.assert_close(forgiving.loss(1.5 * truth, truth), torch.zeros(4), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        strict.loss(1.5 * truth, truth), torch.full((4,), math.log(1.5)), rtol=0, atol=2e-3
    )


def test_no_error_is_no_loss() -> None:
    truth = some_depth(1)
    torch.testing.assert_close(DEPTH.loss(truth, truth), torch.zeros(4))


def test_metrics_equal_the_references() -> None:
    answer, truth = some_depth(0), with_holes(some_depth(1))
    values = {name: float(value) for name, value in DEPTH.score(DEPTH.tally(answer, truth)).items()}

    known = (truth >= 0.5) & (truth <= 20)
    one, other = answer[known].double(), truth[known].double()
    gap = one.log() - other.log()
    ratio = torch.maximum(one / other, other / one)
    rmse = MeanSquaredError(squared=False).set_dtype(torch.float64)
    assert values == pytest.approx(
        {
            "abs_rel": float(MeanAbsolutePercentageError().set_dtype(torch.float64)(one, other)),
            "rmse": float(rmse(one, other)),
            "rmse_log": float(gap.square().mean().sqrt()),
            "silog": 100 * float(gap.std(correction=0)),
            "delta1": float((ratio < 1.25).double().mean()),
            "delta2": float((ratio < 1.25**2).double().mean()),
            "delta3": float((ratio < 1.25**3).double().mean()),
        },
        rel=1e-6,
    )


def test_an_answer_beyond_the_range_is_scored_at_its_edge() -> None:
    answer, truth = torch.tensor([[0.0, 500.0], [1.0, 10.0]]).view(2, 1, 1, 1, 2)
    assert float(DEPTH.score(DEPTH.tally(answer, truth))["abs_rel"]) == pytest.approx((0.5 + 1.0) / 2)


def test_metrics_without_a_known_pixel_are_nan() -> None:
    values = DEPTH.score(DEPTH.tally(some_depth(0), torch.full((4, 1, 9, 11), torch.nan)))
    assert all(value.isnan() for value in values.values())


def test_a_record_is_log_depth_and_zooming_in_brings_it_nearer() -> None:
    centre = torch.tensor([[[0.5, 0.5]]])
    record = DEPTH.compact(torch.full((1, 1, 4, 4), 8.0), centre)
    nearer = DEPTH.rescale(record, torch.tensor([2.0]))
    assert float(record["log_depth"]) == pytest.approx(math.log(8), rel=1e-3)
    assert float(nearer["log_depth"]) == pytest.approx(math.log(4), rel=1e-3)
    assert float(DEPTH.error(nearer, torch.full((1, 1, 1), 4.0))) < 2e-3
    assert float(DEPTH.recall(nearer, torch.full((1, 1, 4, 4), 8.0), centre)) == pytest.approx(
        math.log(2), abs=2e-3
    )


def test_near_is_drawn_red_and_far_blue() -> None:
    near, far = DEPTH.draw(torch.tensor([0.6, 15.0]).view(2, 1, 1, 1)).flatten(1).int()
    assert near[0] > near[2]
    assert far[2] > far[0]
