"""One warp and one change of colour a view, on the device; image and truths move together.

Parameters are drawn for the whole global batch from (seed, step) and a rank takes the rows of its slots,
so that it sees what one worker alone would see. Teachers look at the same view; recorded answers follow
`Batch.warp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_gamma,
    adjust_saturation_with_gray_subtraction,
)
from torch import Tensor

from jointdistill.recipe import Recipe
from jointdistill.tasks.base import Task
from jointdistill.tasks.geometry import resample
from jointdistill.types import Batch, Position, Refusal
from jointdistill.warp import Warp

_PARAMETERS = 8
"""Uniform numbers a slot: flip, zoom, x, y, brightness, contrast, saturation, gamma."""


@dataclass(frozen=True)
class Augment(Recipe):
    """How a view is drawn from an image. All zeros, and a zoom of 1, leave it as it is."""

    flip: float = 0.5
    """Probability of a mirror image."""
    zoom: tuple[float, float] = (1.0, 1.6)
    """Smallest and largest zoom; at 1.5 the view shows a random window of 2/3 of the image's sides.
    Depth is divided by the zoom: what looks larger is nearer."""
    brightness: float = 0.25
    """Largest relative change."""
    contrast: float = 0.25
    """Largest relative change."""
    saturation: float = 0.3
    """Largest relative change."""
    gamma: float = 0.2
    """Largest relative change."""

    def __post_init__(self) -> None:
        low, high = self.zoom
        if not 1 <= low <= high:
            raise Refusal(
                f"--augment.zoom {low} {high} must rise from 1: a view cannot show more than its image."
            )
        if not 0 <= self.flip <= 1:
            raise Refusal(f"--augment.flip {self.flip} is no probability: give a number in 0..1.")
        for knob in ("brightness", "contrast", "saturation", "gamma"):
            if not 0 <= getattr(self, knob) < 1:
                raise Refusal(
                    f"--augment.{knob} {getattr(self, knob)} is no relative change: give a number from 0, "
                    "which changes nothing, to below 1."
                )

    def draw(self, position: Position, slots: int) -> Tensor:
        """[slots, 8] uniform numbers in 0..1 for the global batch of a step, on the host."""
        generator = torch.Generator().manual_seed(position.seed * 1_000_003 + position.step)
        return torch.rand(slots, _PARAMETERS, generator=generator)

    def __call__(self, batch: Batch, tasks: Mapping[str, Task]) -> Batch:
        """The batch's views, with their warp; images stay [B, 3, H, W] in 0..1."""
        drawn = self.draw(batch.position, batch.total)[batch.slots]
        device = batch.image.device
        warp = Warp(self._warp(drawn).matrix.to(device, non_blocking=True))
        change = self._change(drawn).to(device, non_blocking=True)
        height, width = batch.image.shape[-2:]
        image = _coloured(resample(batch.image, warp, (height, width), "bilinear"), change)
        rows = batch.labelled  # all other rows are unknown, and stay so in any view
        truth = {
            name: torch.cat([tasks[name].warp(truth[:rows], warp[:rows], (height, width)), truth[rows:]])
            for name, truth in batch.truth.items()
        }
        return replace(batch, image=image, truth=truth, warp=warp)

    def _warp(self, drawn: Tensor) -> Warp:
        low, high = self.zoom
        zoom = low * (high / low) ** drawn[:, 1]  # log-uniform
        left, top = (1 - 1 / zoom) * drawn[:, 2], (1 - 1 / zoom) * drawn[:, 3]
        mirror = torch.where(drawn[:, 0] < self.flip, -1.0, 1.0)
        matrix = torch.zeros(len(drawn), 3, 3)
        matrix[:, 0, 0] = zoom * mirror
        matrix[:, 0, 2] = -zoom * left * mirror + (mirror < 0)  # a mirrored view runs from 1 to 0
        matrix[:, 1, 1] = zoom
        matrix[:, 1, 2] = -zoom * top
        matrix[:, 2, 2] = 1
        return Warp(matrix)

    def _change(self, drawn: Tensor) -> Tensor:
        """[slots, 4] factors around 1 on brightness, contrast, saturation and gamma."""
        largest = torch.tensor([self.brightness, self.contrast, self.saturation, self.gamma])
        return 1 + (2 * drawn[:, 4:] - 1) * largest


def _coloured(image: Tensor, change: Tensor) -> Tensor:
    image = adjust_brightness_accumulative(image, change[:, 0])
    image = adjust_contrast_with_mean_subtraction(image, change[:, 1])
    image = adjust_saturation_with_gray_subtraction(image, change[:, 2])
    # Its default gain is a number, which kornia copies to the device: the host would wait for that.
    return adjust_gamma(image, change[:, 3], change.new_ones(1))  # type: ignore[no-any-return]
