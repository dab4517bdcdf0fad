"""What anybody would write for one distillation: a plain PyTorch loop in one file.

It has the data in memory, reads ahead, looks at labels only where there may be some, and weighs its losses
by constants. Networks, losses and views are the platform's, so that both sides compute the same.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, cast

import numpy as np
import torch
from kornia.enhance import (
    adjust_brightness_accumulative,
    adjust_contrast_with_mean_subtraction,
    adjust_gamma,
    adjust_saturation_with_gray_subtraction,
)
from torch import Tensor, nn
from torch.nn import functional as F

from jointdistill.engine.loop import Loop
from jointdistill.types import Batch, Prediction


class Views(NamedTuple):
    """A batch as the networks see it."""

    image: Tensor
    """[B, 3, H, W] in 0..1."""
    depth: Tensor
    """[labelled, 1, H, W] metres, NaN unknown."""
    labels: Tensor
    """[labelled, H, W], 255 unknown."""

    def to(self, device: torch.device) -> Views:
        """The same on a device."""
        return Views(*(tensor.to(device, non_blocking=True) for tensor in self))


class PlainLoop:
    """Student, teachers and data of a job, copied; the batches are the job's own."""

    def __init__(self, job: Loop) -> None:
        parts, cache = job.parts, job.loader.cache
        self.device = parts.ranks.device
        everything = np.arange(len(cache))
        self.images = torch.from_numpy(cache.image(everything))
        self.depth = torch.from_numpy(cache.truth("depth", everything))
        self.labels = torch.from_numpy(cache.truth("segmentation", everything)).to(torch.uint8)
        self.views, self.tasks = parts.augment, parts.tasks
        self.student = copy.deepcopy(parts.network)
        self.depth_teacher, self.segmentation_teacher = (
            parts.teachers["depth"],
            parts.teachers["segmentation"],
        )
        self.log_l1, self.kl = parts.objective.comparisons
        self.optimiser = torch.optim.AdamW(self.student.parameters(), lr=2e-3)
        steps = job.steps
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
        )

    def train(self, batches: Iterable[Batch]) -> None:
        """Take a step with the rows of each batch."""
        for batch, views in self.read_ahead(batches):
            loss = self.losses(self.augment(views, batch), batch).sum()
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            self.optimiser.step()
            self.schedule.step()

    def read_ahead(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Views]]:
        """Each batch with its images, read while the last one is used."""
        with ThreadPoolExecutor(1) as reader:
            waiting = None
            for batch in batches:
                coming = batch, reader.submit(self.read, batch)
                if waiting:
                    yield waiting[0], waiting[1].result()
                waiting = coming
            if waiting:
                yield waiting[0], waiting[1].result()

    def read(self, batch: Batch) -> Views:
        """The images of a batch; truths of its labelled slots."""
        rows, known = batch.index, batch.present
        depth = self.depth[rows[: batch.labelled]]
        depth[~known["depth"][: batch.labelled]] = torch.nan
        labels = self.labels[rows[: batch.labelled]]
        labels[~known["segmentation"][: batch.labelled]] = 255
        views = Views(self.images[rows].float().div_(255), depth, labels)
        return Views(*(tensor.pin_memory() for tensor in views)) if self.device.type == "cuda" else views

    def augment(self, seen: Views, batch: Batch) -> Views:
        """Flip, zoom and colours; one grid for image and truths."""
        seen, drawn = seen.to(self.device), self.views.draw(batch.position, batch.total).to(self.device)
        zoom = self.views.zoom[1] ** drawn[:, 1]
        mirror = torch.where(drawn[:, 0] < self.views.flip, -1.0, 1.0)
        corner = (1 - 1 / zoom)[:, None] * drawn[:, 2:4]
        theta = drawn.new_zeros(len(drawn), 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = mirror / zoom, 1 / zoom
        theta[:, :, 2] = 1 / zoom[:, None] + 2 * corner - 1
        grid = F.affine_grid(theta, list(seen.image.shape), align_corners=False)
        image = F.grid_sample(seen.image, grid, padding_mode="border", align_corners=False)
        truths = torch.cat([seen.depth.nan_to_num(0.0), seen.labels[:, None].float() + 1], 1)
        truths = F.grid_sample(truths, grid[: len(truths)], mode="nearest", align_corners=False)
        depth = truths[:, :1] / zoom[: len(truths), None, None, None]
        labels = truths[:, 1].long()
        change = 1 + (2 * drawn - 1) * drawn.new_tensor([0, 0, 0, 0, 0.25, 0.25, 0.3, 0.2])
        image = adjust_brightness_accumulative(image, change[:, 4])
        image = adjust_contrast_with_mean_subtraction(image, change[:, 5])
        image = adjust_saturation_with_gray_subtraction(image, change[:, 6])
        image = adjust_gamma(image, change[:, 7])
        return Views(
            image, depth.masked_fill(depth == 0, torch.nan), torch.where(labels == 0, 255, labels - 1)
        )

    def losses(self, seen: Views, batch: Batch) -> Tensor:
        """[4] of labels and teachers, as the objective's terms have them."""
        with torch.no_grad():
            depth = cast("nn.Module", self.depth_teacher.network)(seen.image)
            segmentation = cast("nn.Module", self.segmentation_teacher.network)(seen.image)
        said: Prediction = self.student(seen.image)
        few = batch.labelled
        return torch.stack(
            [
                self.tasks["depth"].loss(said.answers["depth"][:few], seen.depth).sum()
                / max(1, batch.count["depth"]),
                self.tasks["segmentation"].loss(said.answers["segmentation"][:few], seen.labels).sum()
                / max(1, batch.count["segmentation"]),
                self.log_l1(said, depth, batch).mean(),
                self.kl(said, segmentation, batch).mean(),
            ]
        )
