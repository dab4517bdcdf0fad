from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from jointdistill.tasks.geometry import _between_corners, at_points, averaged, fit, nearest, resample
from jointdistill.warp import Warp

VALUES = torch.rand(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))


def test_fit_interpolates_a_smaller_answer() -> None:
    wanted = F.interpolate(VALUES, (10, 14), mode="bilinear", align_corners=False)
    torch.testing.assert_close(fit(VALUES, torch.Size([2, 10, 14])), wanted)


def test_fit_leaves_an_answer_of_the_right_size_alone() -> None:
    assert fit(VALUES, torch.Size([2, 1, 5, 7])) is VALUES


def test_the_centre_of_a_pixel_reads_the_pixel() -> None:
    points = torch.tensor([[[3.5 / 7, 1.5 / 5], [6.5 / 7, 4.5 / 5]]]).expand(2, -1, -1)
    wanted = torch.stack([VALUES[:, :, 1, 3], VALUES[:, :, 4, 6]], 1)  # [B, m, C]
    torch.testing.assert_close(at_points(VALUES, points), wanted)
    assert torch.equal(nearest(VALUES, points).mT, wanted)


@pytest.mark.parametrize("truth", [VALUES, (100 * VALUES[:, 0]).long(), VALUES[:, :1] > 0.5])
def test_a_truth_of_any_shape_and_type_is_read_at_the_nearest_pixel(truth: torch.Tensor) -> None:
    points = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(1))
    grid = (2 * points - 1)[:, None]
    dense = truth.double() if truth.ndim == 4 else truth[:, None].double()
    wanted = F.grid_sample(dense, grid.double(), mode="nearest", align_corners=False)
    read = nearest(truth, points)
    assert read.dtype == truth.dtype and read.shape == (*truth.shape[:-2], 50)
    assert torch.equal(read.double().view_as(wanted[:, :, 0]), wanted[:, :, 0])


def test_points_read_the_same_on_any_device() -> None:
    """What CUDA devices compute, against torch, within and beyond the edge."""
    points = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.3
    values = VALUES.clone().requires_grad_()
    both = _between_corners(values, points), at_points(values, points)
    torch.testing.assert_close(*both)
    torch.testing.assert_close(*(torch.autograd.grad(read.square().sum(), values)[0] for read in both))


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 3), (4, 6), (5, 1)])
def test_averages_are_those_of_torch(size: tuple[int, int]) -> None:
    torch.testing.assert_close(averaged(VALUES, size), F.adaptive_avg_pool2d(VALUES, size))
    with torch.autocast("cpu", torch.bfloat16):
        assert averaged(VALUES, size).dtype == torch.float32


def test_a_view_of_a_part_shows_that_part() -> None:
    right_half = Warp(torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).repeat(2, 1, 1))
    wide = VALUES.repeat_interleave(2, -1)  # [2, 3, 5, 14]
    view = resample(wide, right_half, (5, 7), "nearest")
    torch.testing.assert_close(view, wide[..., 7:])
