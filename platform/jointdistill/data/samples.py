"""Reading a split: every cell decoded and checked, so that nothing wrong is found in mid-training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jointdistill.cores import cores
from jointdistill.data.cells import decode_image, decode_truth
from jointdistill.data.shards import Row, Shard, fetch_shard, shards_of
from jointdistill.store.base import Store
from jointdistill.tasks.base import Task
from jointdistill.types import Card, Refusal


class Sample(NamedTuple):
    """A frame as it is learnt from."""

    key: str
    image: NDArray[np.uint8]
    """[3, H, W] RGB."""
    truth: dict[str, NDArray[Any]]
    """Task → truth as `Task.decode` gives it; a task without a known pixel is left out."""


def read_split(store: Store, card: Card, split: str, tasks: Mapping[str, Task]) -> Iterator[Sample]:
    """The samples of a split, in the order of its shards.

    Raises `Refusal`, which names file and key, at the first cell that is not what the card and the tasks
    say it is.
    """
    if split not in card.splits:
        raise Refusal(
            f"Data set '{card.name}' has no split '{split}', only {', '.join(card.splits)}: add files "
            f"{split}-00000.parquet …, since training needs 'train' and 'val'."
        )
    seen: set[str] = set()
    # Pillow lets go of the interpreter while it unpacks, so threads are enough.
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for file in shards_of(list(card.shards), store).get(split, []):
            shard = Shard(fetch_shard(store, card, file), file)
            _check_columns(shard, seen, tasks)
            for rows in shard.rows(sorted({task.column for task in tasks.values()})):
                yield from pool.map(partial(_decode, card=card, tasks=tasks, file=file), rows)
    if len(seen) != card.splits[split]:
        raise Refusal(
            f"Split '{split}' of '{card.name}' has {len(seen)} images, but {card.splits[split]} on its card: "
            "copy the shards that are missing, or correct the card."
        )


def _check_columns(shard: Shard, seen: set[str], tasks: Mapping[str, Task]) -> None:
    """Whether the keys are new and each task has its column."""
    for key in shard.keys:
        if key in seen:
            raise Refusal(f"{shard.file} has key '{key}' a second time: give each frame its own key.")
        seen.add(key)
    for name, task in tasks.items():
        shard.require(
            task.column, f"for task {name}: add it (null where there is no label), or drop the task"
        )


def _decode(row: Row, card: Card, tasks: Mapping[str, Task], file: str) -> Sample:
    """The sample of a row."""
    column = "image"
    try:
        image = decode_image(row.image, card.height, card.width)
        truth = {}
        for name, task in tasks.items():
            column = task.column
            cell = row.truths[column]
            if cell is not None and (found := _truth(cell, task, card)) is not None:
                truth[name] = found
    except ValueError as error:
        raise Refusal(f"{file}, key '{row.key}', column '{column}': {error}.") from error
    return Sample(row.key, image, truth)


def _truth(cell: bytes, task: Task, card: Card) -> NDArray[Any] | None:
    """The truth in a cell; none where no pixel of it is known, since its loss would be 0 and not missing."""
    truth = task.decode(decode_truth(cell), card)
    expected = task.unknown(card.height, card.width)
    if truth.shape != expected.shape:
        found = "x".join(map(str, truth.shape[-2:]))
        raise ValueError(f"the truth is {found} but the card says {card.height}x{card.width}: resize it")
    if truth.dtype != expected.dtype:
        raise TypeError(
            f"{type(task).__name__}.decode gives {truth.dtype}, but unknown gives {expected.dtype}"
        )
    return None if np.array_equal(truth, expected, equal_nan=True) else truth
