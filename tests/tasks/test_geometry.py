from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from jointdistill.tasks.geometry import at_points, averaged, fit, resample
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
    torch.testing.assert_close(at_points(VALUES, points, "nearest"), wanted)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_points_read_what_torch_reads_within_and_beyond_the_edge(mode: str) -> None:
    points = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.3
    values = VALUES.clone().requires_grad_()
    wanted = F.grid_sample(
        values, 2 * points[:, None] - 1, mode=mode, padding_mode="border", align_corners=False
    )
    wanted = wanted[:, :, 0].mT  # [B, m, C]
    found = at_points(values, points, mode)  # type: ignore[arg-type]
    torch.testing.assert_close(found, wanted)
    gradients = (torch.autograd.grad(read.square().sum(), values)[0] for read in (found, wanted))
    torch.testing.assert_close(*gradients)


def test_points_keep_their_place_where_values_are_of_half_precision() -> None:
    ramp = torch.linspace(0, 1, 512).expand(1, 1, 4, -1)
    points = torch.tensor([[[0.7301, 0.5], [0.7321, 0.5]]])
    torch.testing.assert_close(
        at_points(ramp.bfloat16(), points).float(), at_points(ramp, points), atol=0.005, rtol=0
    )


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
