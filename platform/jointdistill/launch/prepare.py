"""Preparing data sets."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count

from jointdistill.data.drawn import DrawnScenes
from jointdistill.data.format import write_set
from jointdistill.data.shards import Row
from jointdistill.store.base import Store
from jointdistill.types import Card

_AT_ONCE = 256
"""Scenes handed out together: no more of them ever wait in memory to be written."""


def draw_scenes(
    store: Store, scenes: DrawnScenes, processes: int, progress: Callable[[int], None] = lambda drawn: None
) -> Card:
    """Draw the default data set into a store, on some processes; the number does not change a byte.

    `progress` is told each time how many scenes are drawn. Drawing the same once more, after a kill say,
    goes on over the files that are there. Raises `Refusal` where another data set is in the way.
    """
    # Not by fork: the caller may have threads, and a lock that one holds would stay locked in the child.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        drawn = count(1)

        def rows(split: str) -> Iterator[Row]:
            numbers = scenes.numbers(split)
            for first in range(0, len(numbers), _AT_ONCE):
                for row in pool.map(scenes.row, numbers[first : first + _AT_ONCE], chunksize=8):
                    progress(next(drawn))
                    yield row

        return write_set(
            store, scenes.card, {split: rows(split) for split in scenes.splits}, ["depth", "labels"]
        )
