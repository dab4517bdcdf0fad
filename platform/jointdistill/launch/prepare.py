"""Preparing data sets."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from typing import Annotated

import tyro

from jointdistill.cores import cores
from jointdistill.data.drawn import DrawnScenes
from jointdistill.data.format import CARD, read_card, write_set
from jointdistill.data.shards import Row
from jointdistill.launch.addresses import data_of
from jointdistill.launch.console import CONSOLE, counted
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Card, Refusal

_AT_ONCE = 256
"""Scenes handed out together: no more of them ever wait in memory to be written."""


@dataclass(frozen=True)
class DataOrder:
    """Which data set a user asked for."""

    scenes: Annotated[DrawnScenes, tyro.conf.arg(name="")]
    storage: str = ""
    """Folder or URI (s3://…) of all that is kept; empty: JOINTDISTILL_STORAGE, or else ./storage."""
    processes: int = 0
    """Processes that draw; 0: one a core. The number does not change a byte."""

    def __post_init__(self) -> None:
        if self.processes < 0:
            raise Refusal(f"--processes {self.processes} draws nothing: give 0 (one a core) or more.")


def prepare(order: DataOrder) -> Card:
    """Draw a data set with a progress bar, unless it lies there already.

    Raises `Refusal` where another data set is in the way.
    """
    scenes = order.scenes
    address = data_of(scenes.name, order.storage)
    store = open_store(address)
    card = found(store, scenes)
    if card is None:
        with counted(f"drawing {scenes.name}", sum(scenes.splits.values())) as progress:
            card = draw_scenes(store, scenes, order.processes or cores(), progress)
        done = "Drawn"
    else:
        done = "Already there"
    splits = ", ".join(f"{images} {split}" for split, images in card.splits.items())
    CONSOLE.print(f"{done}: {splits} images of {card.height}x{card.width} in {address}", soft_wrap=True)
    return card


def found(store: Store, scenes: DrawnScenes) -> Card | None:
    """The card of these scenes where they lie in a store; none where no data set does.

    Raises `Refusal` where another one does.
    """
    if CARD not in store.list():
        return None
    there = read_card(store)
    asked = replace(scenes.card, splits=dict(scenes.splits))
    for knob in ("name", "height", "width", "splits", "feedback", "notes", "classes", "depth_scale"):
        if getattr(there, knob) != getattr(asked, knob):
            raise Refusal(
                f"{store} holds another data set ({knob} {getattr(there, knob)}, not "
                f"{getattr(asked, knob)}): choose another --name or --storage."
            )
    return there


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
