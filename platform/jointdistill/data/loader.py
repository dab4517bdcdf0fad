"""Which image stands in which slot of which step, and the batches that follow from it.

The order is a pure function of (seed, step). It knows neither workers nor what was read before, so it
comes out the same on any number of ranks and after a resume at any step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from jointdistill.data.cache import Cache
from jointdistill.data.sampling import Rows, Sampling, Slices
from jointdistill.tasks.base import Task
from jointdistill.types import Batch, Position, Refusal
from jointdistill.warp import Warp

AT_ONCE = 32
"""Images of a batch in `in_order`."""


class Share(NamedTuple):
    """Which part of every global batch a rank takes."""

    rank: int = 0
    world: int = 1


class Order:
    """An endless walk over a pool: one permutation after another, each its own function of the key."""

    def __init__(self, pool: Rows, *key: int) -> None:
        self.pool, self.key = pool, key
        self._permutation = lru_cache(maxsize=4)(self._draw)

    def _draw(self, lap: int) -> Rows:
        return self.pool[np.random.default_rng([*self.key, lap]).permutation(len(self.pool))]

    def at(self, place: int) -> int:
        """The image at a place of the walk."""
        lap, within = divmod(place, len(self.pool))
        return int(self._permutation(lap)[within])


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
        self._has = {
            task: np.isin(np.arange(len(cache.keys)), rows) for task, rows in slices.labelled.items()
        }
        self.images = len(slices.train)
        self._labelled = [
            Order(rows, seed, 1, place) for place, rows in enumerate(slices.labelled.values()) if len(rows)
        ]
        self._any = Order(slices.train, seed, 2)
        _refuse_empty(slices, sampling)
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
        everywhere = self._rows(step)
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

    def _rows(self, step: int) -> Rows:
        """[batch] the images of a step's global batch.

        Tasks take the labelled slots in turns, each walking over its own labels: however few a task has,
        its loss is a mean over as many images as another's.
        """
        slots, tasks = self.sampling.labelled, len(self._labelled)
        labelled = [
            self._labelled[place % tasks].at(place // tasks)
            for place in range(step * slots, (step + 1) * slots)
        ]
        others = self.sampling.batch - slots
        rows = [*labelled, *map(self._any.at, range(step * others, (step + 1) * others))]
        return np.array(rows, dtype=np.int64)

    def stream(self, start: int, stop: int, *, pin: bool = False) -> Iterator[Batch]:
        """The batches of steps `start` ≤ step < `stop`, the next one read while the last is used; `pin`ned
        where a CUDA device waits for them."""

        def read(step: int) -> Batch:
            return self.batch(step).pinned() if pin else self.batch(step)

        with ThreadPoolExecutor(1, thread_name_prefix="loader") as reader:
            coming = reader.submit(read, start) if start < stop else None
            for step in range(start, stop):
                assert coming is not None
                ready = coming.result()
                coming = reader.submit(read, step + 1) if step + 1 < stop else None
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


def _refuse_empty(slices: Slices, sampling: Sampling) -> None:
    if sampling.labelled and not any(len(rows) for rows in slices.labelled.values()):
        raise Refusal(
            f"The batch asks for {sampling.labelled} labelled slots, but no training image has a label left "
            "outside the feedback slice: raise --sampling.labels, or set --sampling.labelled 0."
        )
    if sampling.batch > sampling.labelled and not len(slices.train):
        raise Refusal(
            "The training split has no image outside the feedback slice: add images to the data set."
        )
