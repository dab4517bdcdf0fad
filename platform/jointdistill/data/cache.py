"""The training cache: one split, decoded once into a file that is mapped into memory.

The workers of a machine share its pages, and a batch costs a copy of its rows.
"""

from __future__ import annotations

import fcntl
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from jointdistill.data.cache_file import CHUNK, LAYOUT, Column, read, write
from jointdistill.data.samples import read_split
from jointdistill.recipe import describe, digest
from jointdistill.store.base import Store
from jointdistill.tasks.base import Task
from jointdistill.types import Card, Refusal


@final
@dataclass(frozen=True)
class Cache:
    """A decoded split of N images. What it hands out are copies, which the caller may change."""

    path: Path
    keys: list[str]
    """[N] in the order of the shards."""
    height: int
    width: int
    columns: Mapping[str, Column]
    """`image`, and each task by its name."""
    chunks: Mapping[str, list[NDArray[Any]]]
    """Column → views [n, …] of the mapped file, in order."""
    labelled: Mapping[str, NDArray[np.bool_]]
    """Task → [N]."""

    def __len__(self) -> int:
        return len(self.keys)

    def has(self, task: str) -> NDArray[np.bool_]:
        """[N] whether an image carries the task's label."""
        return self.labelled[task]

    def image(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [n, 3, H, W] of some rows."""
        return self._gather("image", rows)

    def truth(self, task: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        """[n, …] of some rows, each as `Task.decode` gave it; all unknown where there is no label."""
        return self._gather(task, rows)

    def _gather(self, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
        column, chunks = self.columns[name], self.chunks[name]
        found = np.empty((len(rows), *column.shape), column.dtype)
        for place, row in enumerate(rows.tolist()):
            found[place] = chunks[row // CHUNK][row % CHUNK]
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return open_cache, (self.path,)  # another process of this machine maps the same file


def open_cache(path: Path) -> Cache:
    """The cache in a file. Raises `Refusal` where the file is none."""
    table, columns = read(path)
    height, width = columns["image"].shape[1:]
    tasks = columns.keys() - {"image"}
    return Cache(
        path=path,
        keys=table["key"].to_pylist(),
        height=height,
        width=width,
        columns=columns,
        chunks={
            name: [column.view(cells) for cells in table[name].chunks] for name, column in columns.items()
        },
        labelled={task: table[f"has_{task}"].to_numpy() for task in tasks},
    )


def build_cache(store: Store, card: Card, split: str, tasks: Mapping[str, Task], folder: Path) -> Cache:
    """The cache of a split in a folder of this machine; built there unless it exists.

    Of several builders one works and the others wait for it. Raises `Refusal` at the first cell that
    cannot be used (see `read_split`), or where the folder cannot hold the cache.
    """
    unknown = {name: task.unknown(card.height, card.width) for name, task in tasks.items()}
    columns = {"image": Column.of(np.empty((3, card.height, card.width), np.uint8))}
    columns |= {name: Column.of(truth) for name, truth in unknown.items()}
    path = folder / f"{card.fingerprint[:16]}-{split}-{_kind(tasks, columns)[:16]}.arrow"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_builder(path):
            if not path.exists():
                write(path, columns, read_split(store, card, split, tasks), unknown)
    except OSError as error:
        size = sum(column.width for column in columns.values()) * card.splits.get(split, 0) / 1e6
        raise Refusal(
            f"The training cache ({size:.0f} MB) cannot be written to {folder} ({error}): make room, or "
            "choose another folder."
        ) from error
    return open_cache(path)


def _kind(tasks: Mapping[str, Task], columns: Mapping[str, Column]) -> str:
    """Digest of what else decides on the file: the tasks' code, and not their knobs. `decode` knows the card
    and no knob, so that all trials of a sweep share one file."""
    kinds = {name: [task.column, inspect.getsource(type(task))] for name, task in tasks.items()}
    layout = {name: column.dump() for name, column in columns.items()}
    return digest({"layout": LAYOUT, "tasks": describe(kinds), "columns": describe(layout)})


@contextmanager
def _only_builder(path: Path) -> Iterator[None]:
    """Wait until no other process builds this file. The system frees the lock of a builder that dies."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
