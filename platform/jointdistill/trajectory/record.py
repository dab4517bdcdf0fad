"""The record format: what one network knew of each image at its essential points, in a few hundred bytes.

Everything lies in canonical coordinates: cells of a fixed grid over the whole image, depth as the
unzoomed image shows it. So records written from one view can be read from any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from jointdistill.tasks.base import RecordColumn, Task
from jointdistill.types import JSON, Refusal

_CELLS = torch.iinfo(torch.int16).max
"""Cells a grid may have. Kept as int16, because torch indexes nothing by uint16; stored as uint16."""


@dataclass(frozen=True)
class Layout:
    """What a record consists of."""

    layer: str
    """The feature layer behind the attention."""
    grid: tuple[int, int]
    """Rows and columns of the canonical grid."""
    points: int
    """Essential points an image."""
    tasks: Mapping[str, Mapping[str, RecordColumn]]
    """Task → its columns."""

    def __post_init__(self) -> None:
        cells = self.grid[0] * self.grid[1]
        if not 0 < cells <= _CELLS:
            raise Refusal(
                f"A record cannot number the cells of a grid of {self.grid}: use 1 to {_CELLS} cells."
            )
        if not 0 < self.points <= cells:
            raise Refusal(f"{self.points} points cannot be chosen of {cells} cells: use 1 to {cells} points.")

    @classmethod
    def of(cls, tasks: Mapping[str, Task], layer: str, grid: tuple[int, int], points: int) -> Self:
        """The layout for a run's tasks."""
        return cls(layer, grid, points, {name: dict(task.record) for name, task in tasks.items()})

    @property
    def columns(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Column → its type and the shape of one row."""
        columns: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
            "known": (torch.bool, ()),
            "cell": (torch.int16, (self.points,)),
            "attention": (torch.float16, (self.points,)),
        }
        for task, own in self.tasks.items():
            columns[f"{task}.loss"] = (torch.float16, ())
            for name, column in own.items():
                columns[f"{task}.{name}"] = (getattr(torch, column.dtype), (self.points, column.width))
        return columns

    def describe(self) -> JSON:
        """As plain JSON, for a file's header."""
        tasks: dict[str, JSON] = {
            task: {name: [column.dtype, column.width] for name, column in own.items()}
            for task, own in self.tasks.items()
        }
        return {"layer": self.layer, "grid": list(self.grid), "points": self.points, "tasks": tasks}


@dataclass(frozen=True, slots=True)
class Records:
    """A table with one row an image."""

    layout: Layout
    tensors: dict[str, Tensor]
    """Column → [N, …], as `Layout.columns` names them."""

    @classmethod
    def empty(cls, layout: Layout, images: int, device: torch.device | str = "cpu") -> Self:
        """A table that knows nothing: no row is known, no attention, losses NaN."""
        tensors = {
            name: torch.zeros(images, *shape, dtype=dtype, device=device)
            for name, (dtype, shape) in layout.columns.items()
        }
        for task in layout.tasks:
            tensors[f"{task}.loss"].fill_(torch.nan)
        return cls(layout, tensors)

    @property
    def known(self) -> Tensor:
        """[N] bool: the row was written."""
        return self.tensors["known"]

    @property
    def cell(self) -> Tensor:
        """[N, m] int64 cells of the canonical grid, row by row."""
        return self.tensors["cell"].long()

    @property
    def attention(self) -> Tensor:
        """[N, m] float32 weight of each point, ≥ 0; 0 where a row has fewer points than its width."""
        return self.tensors["attention"].float()

    def loss(self, task: str) -> Tensor:
        """[N] float32 mean error over the row's points when written; NaN where nobody could judge."""
        return self.tensors[f"{task}.loss"].float()

    def columns(self, task: str) -> dict[str, Tensor]:
        """The task's own columns, [N, m, width] each."""
        return {name: self.tensors[f"{task}.{name}"] for name in self.layout.tasks[task]}

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, rows: Tensor) -> Records:
        return Records(
            self.layout, {name: values.index_select(0, rows) for name, values in self.tensors.items()}
        )

    def put(self, rows: Tensor, records: Records) -> None:
        """Write records into rows [n], in place. No row may be named twice."""
        for name, values in records.tensors.items():
            self.tensors[name][rows] = values.to(self.known.device)

    def to(self, device: torch.device | str) -> Records:
        """The same table on a device."""
        return Records(self.layout, {name: values.to(device) for name, values in self.tensors.items()})


@dataclass(frozen=True)
class Anchor:
    """One moment of a teacher's way: how good it was, and what it knew of the student's images."""

    step: int
    """Optimiser steps the teacher had behind it."""
    loss: Mapping[str, float]
    """Task → supervised loss on the feedback slice."""
    records: Records
    """One row an image of the *student's* training cache, made by replaying the anchor on them."""
