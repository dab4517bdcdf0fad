"""What a global batch is made of, and how the training split is divided for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from jointdistill.data.cache import Cache
from jointdistill.data.slices import feedback_slice, label_order
from jointdistill.recipe import Recipe
from jointdistill.tasks.base import Task
from jointdistill.types import Refusal

Rows = NDArray[np.int64]

LOOKED_AT = 32
"""Labelled images that are looked at to see whether their labels are of use."""


@dataclass(frozen=True)
class Sampling(Recipe):
    """What a global batch is made of. Few labels and many images is the normal case."""

    batch: int = 16
    """Images in the global batch, over all workers and micro-batches."""
    labelled: int = 8
    """Slots of the global batch that hold images with labels; the others hold any image, unlabelled."""
    labels: Mapping[str, float] = field(default_factory=dict)
    """Task → share of the training split whose labels may be used, the feedback slice included
    (0.05 = 5 %). A task that is not named keeps all its labels; 0 leaves it none."""
    hold_out: bool = True
    """Keep the data set's feedback slice out of training. Switch it off only for runs without teachers, which
    never listen to it, and whose students will not teach: they would be scored on what they have seen."""

    def __post_init__(self) -> None:
        if not 0 <= self.labelled <= self.batch or self.batch < 1:
            raise Refusal(
                f"A global batch of {self.batch} images cannot hold {self.labelled} labelled slots: "
                "choose 0 ≤ --sampling.labelled ≤ --sampling.batch."
            )
        for task, share in self.labels.items():
            if not 0 <= share <= 1:
                raise Refusal(f"--sampling.labels: {share} for {task} is no share, give a number in 0..1.")


class Slices(NamedTuple):
    """The training split, divided."""

    train: Rows
    """Every image that may be trained on."""
    labelled: dict[str, Rows]
    """Task → images whose label may be trained on."""
    feedback: dict[str, Rows]
    """Task → images held out of all training whose label may be listened to."""


def divide(cache: Cache, sampling: Sampling, tasks: Mapping[str, Task], feedback: float) -> Slices:
    """Divide the training split by hashes of the images' keys; `feedback` is the slice's share of it.

    A task's label budget starts with the feedback slice, since listening to a label is using it; what is
    left of the budget may be trained on. Who does not hold the slice out trains on the whole budget, so
    that an arm without teachers is not robbed of labels it would have.
    """
    slice_ = feedback_slice(cache.keys, feedback)
    held_out = slice_ if sampling.hold_out else np.zeros_like(slice_)
    labelled, heard = {}, {}
    for task in tasks:
        order = label_order(cache.keys, task)
        order = np.concatenate([order[slice_[order]], order[~slice_[order]]])
        order = order[cache.has(task)[order]]
        budget = order[: round(sampling.labels.get(task, 1.0) * len(cache.keys))]
        labelled[task] = np.sort(budget[~held_out[budget]])
        heard[task] = np.sort(budget[held_out[budget]])
    return Slices(np.flatnonzero(~held_out), labelled, heard)


def refuse_useless(cache: Cache, tasks: Mapping[str, Task], slices: Slices) -> None:
    """Raise a `Refusal` for a task whose labels would all be passed over: nothing would be learnt from them,
    and nothing would say so. A depth in millimetres, on a card that does not say so, is such a label."""
    for name, task in tasks.items():
        rows = slices.labelled[name][:LOOKED_AT]
        if len(rows) and not task.known(torch.from_numpy(cache.truth(name, rows))).any():
            raise Refusal(
                f"No pixel of '{name}' counts in the first {len(rows)} labelled images: check the unit of "
                f"its labels on the data set's card (depth_scale, for depth), or --tasks.{name}."
            )
