"""What one forward says of some cells of each image, and the records that are taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from jointdistill.trajectory.judge import Judge, Verdict
from jointdistill.trajectory.points import attention_at, centres, essential_points, visible
from jointdistill.trajectory.record import Layout, Records
from jointdistill.types import Batch, Prediction

Choice: TypeAlias = Literal["essential", "attention", "right", "random"]
"""How points are chosen: looked at and right, or, to compare with, only one of both or neither."""

_SHORTLIST = 2
"""Essential points are chosen of so many times as many cells, the most attended ones. To judge all 512
cells of a grid would cost eight times as much, and a cell nobody looks at is hardly ever essential."""


class Candidates(NamedTuple):
    """The cells of each image that may become its points."""

    cell: Tensor
    """[B, n] int64, rising."""
    attention: Tensor
    """[B, n] ≥ 0, of length 1 over all cells; 0 where unseen."""
    worth: Tensor
    """[B, n] ≥ 0 what chooses among them, beside being right."""

    def behind(self, cell: Tensor) -> Candidates:
        """The same candidates behind other cells [B, m], which are looked at but not chosen."""
        nothing = torch.zeros_like(cell, dtype=self.worth.dtype)
        return Candidates(
            torch.cat([cell, self.cell], 1),
            torch.cat([nothing, self.attention], 1),
            torch.cat([nothing, self.worth], 1),
        )


@dataclass(frozen=True, slots=True)
class Sight:
    """What one forward says of n cells an image; detached."""

    layout: Layout
    cell: Tensor
    """[B, n] int64."""
    seen: Tensor
    """[B, n] bool: the view shows the cell's centre."""
    columns: dict[str, dict[str, Tensor]]
    """Task → record columns [B, n, width], in canonical scale."""
    verdict: dict[str, Verdict]
    """Task → what is true there; a task that nobody can judge is missing."""
    error: dict[str, Tensor]
    """Task → [B, n] how wrong; NaN where unseen or where nobody can tell."""

    def take(self, place: Tensor, attention: Tensor) -> Records:
        """Records of the cells at places [B, m] of the n; `attention` [B, m] is written beside them.

        A row is known where some task could be judged at one of its points.
        """
        tensors = {"cell": self.cell.gather(1, place).short(), "attention": attention.half()}
        known = torch.zeros(len(place), dtype=torch.bool, device=place.device)
        for task, columns in self.columns.items():
            loss = self.error[task].gather(1, place).nanmean(1)
            known |= ~loss.isnan()
            tensors[f"{task}.loss"] = loss.half()
            for name, values in columns.items():
                tensors[f"{task}.{name}"] = values.gather(
                    1, place[..., None].expand(-1, -1, values.shape[-1])
                )
        return Records(self.layout, {"known": known, **tensors})


def candidates(now: Prediction, batch: Batch, layout: Layout, choice: Choice) -> Candidates:
    """A shortlist of the cells of each image, by how much the network looks at them."""
    everywhere = centres(layout.grid, batch.image.device)  # [cells, 2]
    view = batch.warp.points(everywhere.expand(len(batch), -1, -1))
    seen = visible(view)
    attention = F.normalize(
        attention_at(now.features[layout.layer].detach(), layout.grid, view) * seen, dim=1
    )
    worth, wanted = attention, layout.points
    if choice == "essential":
        wanted = min(_SHORTLIST * layout.points, len(everywhere))
    elif choice == "right":
        worth, wanted = seen.float(), len(everywhere)
    elif choice == "random":
        worth = seen * _noise(batch.rows_on(seen.device), len(everywhere))
    cell = worth.topk(wanted, dim=1).indices.sort(dim=1).values
    return Candidates(cell, attention.gather(1, cell), worth.gather(1, cell))


def look(
    now: Prediction,
    taught: Mapping[str, Prediction],
    batch: Batch,
    judge: Judge,
    layout: Layout,
    cell: Tensor,
) -> Sight:
    """What a forward says of cells [B, n] of a batch's images, whatever view of them it was shown."""
    view = batch.warp.points(centres(layout.grid, cell.device)[cell])  # [B, n, 2]
    seen = visible(view)
    columns, verdicts, error = {}, {}, {}
    for name, task in judge.tasks.items():
        said = task.compact(now.answers[name].detach(), view)
        verdict = judge.verdict(name, taught, batch, view)
        error[name] = torch.full(cell.shape, torch.nan, device=cell.device)
        if verdict is not None:
            verdicts[name] = verdict
            error[name] = verdict.error(task, said).where(seen, torch.nan)
        columns[name] = task.rescale(said, 1 / batch.warp.zoom)
    return Sight(layout, cell, seen, columns, verdicts, error)


def choose(sight: Sight, among: Candidates) -> Tensor:
    """[B, m] int64 the places of the candidates to keep, rising; `sight` looked at them, in their order."""
    losses = torch.stack(list(sight.error.values())).nanmean(0)  # [B, n], over the tasks known there
    return essential_points(among.worth, losses, sight.layout.points)


def replay(
    now: Prediction, taught: Mapping[str, Prediction], batch: Batch, judge: Judge, layout: Layout
) -> Records:
    """The records of a batch, row by row: what the replay of an anchor puts into its table.

    `now` is what the anchor says of the student's images, `taught` what the finished teacher says of
    them: it judges the images that have no label.
    """
    among = candidates(now, batch, layout, "essential")
    sight = look(now, taught, batch, judge, layout, among.cell)
    place = choose(sight, among)
    return sight.take(place, among.attention.gather(1, place))


def _noise(draw: Tensor, cells: int) -> Tensor:
    """[B, cells] in (0, 1]: one fixed shuffle of the cells, turned by each image's number `draw` [B]."""
    shuffled = torch.randperm(cells, generator=torch.Generator().manual_seed(0)).to(draw.device)
    turn = (torch.arange(cells, device=draw.device) + draw[:, None]) % cells
    return (shuffled[turn] + 1) / cells
