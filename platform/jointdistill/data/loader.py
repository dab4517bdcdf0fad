"""Which image stands in which slot of which step, and the batches that follow from it.

The order is a pure function of (seed, step). It knows neither workers nor what was read before, so it
comes out the same on any number of ranks and after a resume at any step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from jointdistill.data.cache import Cache
from jointdistill.data.slices import feedback_slice, label_order
from jointdistill.recipe import Recipe
from jointdistill.tasks.base import Task
from jointdistill.types import Batch, Position, Refusal, Warp

Rows = NDArray[np.int64]

AT_ONCE = 32
"""Images of a batch in `in_order`."""


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
    """Keep the data set's feedback slice out of training. Only who never listens to it may train on it."""

    def __post_init__(self) -> None:
        if not 0 <= self.labelled <= self.batch or self.batch < 1:
            raise Refusal(
                f"A global batch of {self.batch} images cannot hold {self.labelled} labelled slots: "
                "choose 0 ≤ --sampling.labelled ≤ --sampling.batch."
            )
        for task, share in self.labels.items():
            if not 0 <= share <= 1:
                raise Refusal(f"--sampling.labels: {share} for {task} is no share, give a number in 0..1.")


class Share(NamedTuple):
    """Which part of every global batch a rank takes."""

    rank: int = 0
    world: int = 1


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


class Order:
    """An endless walk over a pool: one permutation after another, each its own function of the seed."""

    def __init__(self, pool: Rows, slots: int, seed: int, salt: int) -> None:
        self.pool, self.slots, self.seed, self.salt = pool, slots, seed, salt
        self._permutation = lru_cache(maxsize=4)(self._draw)

    def _draw(self, lap: int) -> Rows:
        generator = np.random.default_rng([self.seed, self.salt, lap])
        return self.pool[generator.permutation(len(self.pool))]

    def rows(self, step: int) -> Rows:
        """[slots] the images of a step."""
        places = np.arange(step * self.slots, (step + 1) * self.slots)
        laps, within = np.divmod(places, len(self.pool))
        return np.array(
            [self._permutation(int(lap))[at] for lap, at in zip(laps, within, strict=True)], dtype=np.int64
        )


class Loader:
    """A rank's batches of the training split."""

    def __init__(
        self,
        cache: Cache,
        slices: Slices,
        sampling: Sampling,
        tasks: Mapping[str, Task],
        seed: int,
        share: Share,
    ) -> None:
        self.cache, self.sampling, self.tasks, self.seed = cache, sampling, tasks, seed
        with_label = np.unique(np.concatenate([*slices.labelled.values(), np.empty(0, np.int64)]))
        self._has = {
            task: np.isin(np.arange(len(cache.keys)), rows) for task, rows in slices.labelled.items()
        }
        self.images = len(slices.train)
        self._labelled = Order(with_label, sampling.labelled, seed, salt=1)
        self._any = Order(slices.train, sampling.batch - sampling.labelled, seed, salt=2)
        _refuse_empty(with_label, slices.train, sampling)
        self._mine = np.arange(share.rank, sampling.batch, share.world)

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which as many images were drawn as the split has."""
        return -(-self.images // self.sampling.batch)

    def position(self, step: int) -> Position:
        """Where the run stands before a step."""
        return Position(self.seed, step // self.steps_per_epoch, step)

    def batch(self, step: int) -> Batch:
        """This rank's share of a step's global batch, labelled slots first."""
        everywhere = np.concatenate([self._labelled.rows(step), self._any.rows(step)])
        may_carry = np.arange(self.sampling.batch) < self.sampling.labelled
        present = {task: has[everywhere] & may_carry for task, has in self._has.items()}
        mine = self._mine
        rows = everywhere[mine]
        return Batch(
            keys=tuple(self.cache.keys[row] for row in rows),
            index=torch.from_numpy(rows),
            slots=torch.from_numpy(mine),
            image=as_image(self.cache.image(rows)),
            truth={
                task: allowed_truth(self.cache, self.tasks, task, rows, where[mine])
                for task, where in present.items()
            },
            present={task: torch.from_numpy(where[mine]) for task, where in present.items()},
            count={task: int(where.sum()) for task, where in present.items()},
            total=self.sampling.batch,
            labelled=int(may_carry[mine].sum()),
            position=self.position(step),
            warp=Warp.identity(len(rows)),
        )

    def stream(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps `start` ≤ step < `stop`, the next one read while the last is used."""
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as reader:
            coming = reader.submit(self.batch, start) if start < stop else None
            for step in range(start, stop):
                assert coming is not None
                ready = coming.result()
                coming = reader.submit(self.batch, step + 1) if step + 1 < stop else None
                yield ready


def in_order(
    cache: Cache,
    tasks: Mapping[str, Task],
    labels: Mapping[str, Rows],
    share: Share,
    rows: Rows | None = None,
) -> Iterator[Batch]:
    """A rank's share of some images, once and unaugmented: what evaluation walks over.

    `labels`: task → rows whose label may be looked at; `rows`: the images, or all that have such a label.
    Every rank gets equally many batches, since a sharded network computes only together; a rank without
    an image of its own in the last one gets an image that carries no label.
    """
    if rows is None:
        rows = np.unique(np.concatenate([*labels.values(), np.empty(0, np.int64)]))
    for first in range(0, len(rows), AT_ONCE * share.world):
        together = rows[first : first + AT_ONCE * share.world]
        mine = together[share.rank :: share.world]
        padded = mine if len(mine) else together[:1]
        present = {task: np.isin(padded, allowed) & (len(mine) > 0) for task, allowed in labels.items()}
        yield Batch(
            keys=tuple(cache.keys[row] for row in padded),
            index=torch.from_numpy(padded),
            slots=torch.arange(len(padded)),
            image=as_image(cache.image(padded)),
            truth={task: allowed_truth(cache, tasks, task, padded, where) for task, where in present.items()},
            present={task: torch.from_numpy(where) for task, where in present.items()},
            count={task: len(allowed) for task, allowed in labels.items()},
            total=len(rows),
            labelled=len(mine),
            position=Position(0, 0, 0),
            warp=Warp.identity(len(padded)),
        )


def allowed_truth(
    cache: Cache, tasks: Mapping[str, Task], task: str, rows: Rows, allowed: NDArray[np.bool_]
) -> torch.Tensor:
    """The truths of some rows, unknown where they may not be looked at: what is not read cannot leak."""
    truth = np.repeat(tasks[task].unknown(cache.height, cache.width)[None], len(rows), 0)
    truth[allowed] = cache.truth(task, rows[allowed])
    return torch.from_numpy(truth)


def as_image(pixels: NDArray[Any]) -> torch.Tensor:
    """uint8 [B, 3, H, W] → float in 0..1."""
    return torch.from_numpy(pixels).float().div_(255)


def _refuse_empty(with_label: Rows, train: Rows, sampling: Sampling) -> None:
    if sampling.labelled and not len(with_label):
        raise Refusal(
            f"The batch asks for {sampling.labelled} labelled slots, but no training image has a label left "
            "outside the feedback slice: raise --sampling.labels, or set --sampling.labelled 0."
        )
    if sampling.batch > sampling.labelled and not len(train):
        raise Refusal(
            "The training split has no image outside the feedback slice: add images to the data set."
        )
