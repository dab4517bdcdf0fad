"""Records of a batch's images, as its views show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from jointdistill.tasks.base import Task
from jointdistill.trajectory.points import centres, visible
from jointdistill.trajectory.record import Records
from jointdistill.trajectory.sight import Sight
from jointdistill.types import Batch


@dataclass(frozen=True, slots=True)
class Past:
    """What was known of the images of a batch, moved to its views."""

    records: Records
    """[B] rows, in canonical coordinates."""
    points: Tensor
    """[B, m, 2] where the rows' points lie in the view."""
    attention: Tensor
    """[B, m] their weights; 0 where the row is unknown or the view does not show the point."""
    columns: dict[str, dict[str, Tensor]]
    """Task → columns [B, m, width], as things appear in the view."""

    @classmethod
    def of(cls, table: Records, batch: Batch, tasks: Mapping[str, Task]) -> Self:
        """Look a batch's images up."""
        device = table.known.device
        records = table[batch.rows_on(device)]
        points = batch.warp.points(centres(table.layout.grid, device)[records.cell])
        columns = {name: task.rescale(records.columns(name), batch.warp.zoom) for name, task in tasks.items()}
        return cls(records, points, records.attention * visible(points), columns)

    def lost(self, sight: Sight, tasks: Mapping[str, Task]) -> dict[str, Tensor]:
        """Task → [B, m] the present error less the past one: > 0 where something was forgotten.

        NaN where the view does not show the point or nobody can tell. The first m cells that `sight` looked
        at must be the records' own.
        """
        lost = {}
        for name, now in sight.error.items():
            if name in sight.verdict:
                verdict = sight.verdict[name].first(self.points.shape[1])
                change = now[:, : self.points.shape[1]] - verdict.error(tasks[name], self.columns[name])
                lost[name] = change.where(self.attention > 0, torch.nan)
            else:
                lost[name] = torch.full_like(self.attention, torch.nan)
        return lost
