"""The student's own past: where it once was better than now, it is reminded of what it said then."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor

from jointdistill.trajectory.base import (
    Gather,
    Setting,
    Trajectory,
    TrajectoryRecipe,
    ramped,
    refuse_knobs,
    refuse_layer,
)
from jointdistill.trajectory.judge import Judge
from jointdistill.trajectory.notes import Notes
from jointdistill.trajectory.past import Past
from jointdistill.trajectory.record import Layout, Records
from jointdistill.trajectory.sight import Candidates, Choice, Sight, candidates, choose, look
from jointdistill.types import Batch, Prediction, Refusal, State


@dataclass(frozen=True)
class OwnPast(TrajectoryRecipe):
    """A guard against forgetting: the student's best answers so far, kept at few points an image.

    L_S = Σ_i Σ_j A_j f_ij d_i(past_j, now_j) / (Σ_j A_j f_ij + ε),  f_ij = 1[l_i(past_j) < l_i(now_j)]

    over the essential points j of an image and the tasks i; A is the attention, d the task's `recall`, l
    its `error`. After PS-KD (Kim et al., 2006.12000) and DER (Buzzega et al., 2004.07211), which keep
    whole outputs; the forgetting gate f and the points are this platform's.
    """

    free: ClassVar[tuple[str, ...]] = ("gain", "ramp", "gate")

    gain: float = 0.1
    """Factor on the loss."""
    ramp: float = 0.1
    """Share of the run over which the gain rises from 0."""
    points: int = 32
    """Essential points an image."""
    grid: tuple[int, int] = (16, 32)
    """Rows and columns of the canonical grid."""
    layer: str = "decoder"
    """The student's feature layer whose attention chooses and weighs the points."""
    gate: bool = True
    """Listen to the past only where it was better. Without it every record counts."""
    choice: Choice = "essential"
    """How points are chosen."""

    def __post_init__(self) -> None:
        refuse_knobs("OwnPast", self.gain, self.ramp)

    def check(self, setting: Setting) -> None:
        """Raises `Refusal` where the layer is missing or the grid cannot hold the points."""
        refuse_layer("OwnPast", self.layer, setting.layers)
        Layout.of(setting.tasks, self.layer, self.grid, self.points)

    def build(self, setting: Setting) -> OwnPastTrajectory:
        """Its table starts empty."""
        return OwnPastTrajectory(self, setting)


class Visit(NamedTuple):
    """Past and present of a batch, side by side."""

    past: Past
    among: Candidates
    """The records' cells, then the candidates for new points."""
    sight: Sight
    """What the network now says there."""
    lost: dict[str, Tensor]
    """Task → [B, m] how much worse than the past it is."""


@final
class OwnPastTrajectory(Trajectory):
    """See `OwnPast`. The table lies on the device, 1 MB for 3000 images, so that no step waits for a copy."""

    def __init__(self, recipe: OwnPast, setting: Setting) -> None:
        self._recipe, self._setting = recipe, setting
        self._judge = Judge(setting.tasks, setting.labelled, setting.images, setting.device)
        self._layout = Layout.of(setting.tasks, recipe.layer, recipe.grid, recipe.points)
        self._notes = Notes(self._layout, setting.device)
        self._latest: tuple[weakref.ref[Tensor], Visit] | None = None
        self._merged = False
        self._counted = torch.zeros(2, dtype=torch.int64, device=setting.device)  # points let through, shown
        self.records = Records.empty(self._layout, setting.images, setting.device)
        """[images] the best so far, alike on every rank."""

    def loss(self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> Tensor:
        """[] this rank's share of L_S."""
        total = torch.zeros((), device=batch.image.device)
        gain = ramped(self._recipe.gain, self._recipe.ramp, batch.position.step, self._setting.steps)
        if gain == 0 or not self._merged:
            return total
        tasks = self._judge.tasks
        visit = self._visit(now, taught, batch)
        past = visit.past
        for name, lost in visit.lost.items():
            gate = lost > 0  # NaN, where nobody can tell, stays shut
            # What nobody could judge is no memory: it would feed the student its own confidence.
            judged = ~past.records.loss(name).isnan()[:, None]
            weight = past.attention * (gate if self._recipe.gate else judged)
            distance = tasks[name].recall(past.columns[name], now.answers[name], past.points)  # [B, m]
            total = total + ((weight * distance).sum(1) / (weight.sum(1) + 1e-6)).sum()
            self._counted += torch.stack([gate.sum(), (past.attention > 0).sum()])
        return gain * total / batch.total

    @torch.no_grad()
    def write(self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> None:
        """Note each image's row as it would stand after this visit.

        1. Better than the record in every task, or no record yet: a new row, points and all.
        2. Better in some tasks: their columns are renewed at the record's points that the view shows.
        3. Better in none: the record stays.

        "Better" compares the sums of errors over the record's points that can be judged now.
        """
        past, among, sight, lost_of = self._visit(now, taught, batch)
        chosen = choose(sight, among)
        new = sight.take(chosen, among.attention.gather(1, chosen))
        same = torch.arange(self._layout.points, device=chosen.device).expand_as(chosen)
        renewed = sight.take(same, past.records.attention)
        better, settled = {}, []
        for name, lost in lost_of.items():
            first, judged = past.records.loss(name).isnan(), ~new.loss(name).isnan()
            better[name] = torch.where(first, judged, lost.nansum(1) < 0)
            settled.append(better[name] | (first & ~judged))  # a task nobody ever judges holds nothing up
        fresh = torch.stack(list(better.values())).any(0)
        anew = fresh & torch.stack(settled).all(0)
        kept = _updated(past.records, renewed, better, sight.seen.gather(1, same))
        self._notes.add(batch, _where(anew, new, kept), fresh)

    @torch.no_grad()
    def _visit(self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> Visit:
        """Past and present of a batch; `loss` and `write` ask for the same one in turn."""
        answer = next(iter(now.answers.values()))
        if self._latest is None or self._latest[0]() is not answer:
            past = Past.of(self.records, batch, self._judge.tasks)
            among = candidates(now, batch, self._layout, self._recipe.choice).behind(past.records.cell)
            sight = look(now, taught, batch, self._judge, self._layout, among.cell)
            visit = Visit(past, among, sight, past.lost(sight, self._judge.tasks))
            self._latest = weakref.ref(answer), visit  # weak: it must not keep the step's graph alive
        return self._latest[1]

    def pool(self, gather: Gather) -> None:
        """Every rank's notes on every rank, still unread."""
        self._notes.replace([tensors for tensors, _ in gather((self._notes.tensors(), {}))])

    def merge(self, gather: Gather) -> None:
        """Every rank's notes into every rank's table."""
        self.pool(gather)
        self._notes.flush_into(self.records)
        self._merged, self._latest = True, None

    def log(self) -> dict[str, float]:
        """This rank's share of shown points that passed the gate since the last call; share of rows known."""
        through, shown = self._counted.tolist()
        self._counted.zero_()
        return {
            "trajectory/gate_open": through / shown if shown else 0.0,
            "trajectory/known": float(self.records.known.float().mean()),
        }

    def state(self) -> State:
        """The table, and this rank's unread notes: `pool` first, if a run of another size is to go on."""
        tensors = {f"record.{name}": values.cpu().clone() for name, values in self.records.tensors.items()}
        counted = self._counted.cpu().clone()
        return {**tensors, **self._notes.tensors(), "counted": counted}, {"merged": self._merged}

    def load(self, state: State) -> None:
        """Raises `Refusal` where the state is of other records."""
        tensors, plain = state
        for name, mine in self.records.tensors.items():
            kept = tensors.get(f"record.{name}")
            if kept is None or (kept.shape, kept.dtype) != (mine.shape, mine.dtype):
                raise Refusal(
                    f"The snapshot's records differ from the run's in {name!r}: start anew, or go back to "
                    "the images, tasks, points and grid they were written with."
                )
            mine.copy_(kept)
        self._notes.replace([tensors])
        self._counted.copy_(tensors["counted"])
        self._merged, self._latest = bool(plain["merged"]), None


def _updated(past: Records, present: Records, better: Mapping[str, Tensor], seen: Tensor) -> Records:
    """The past rows with the present columns of the tasks that are `better` [B], where `seen` [B, m]."""
    tensors = dict(past.tensors)
    for task, improved in better.items():
        take = improved[:, None] & seen
        loss = f"{task}.loss"
        tensors[loss] = torch.where(improved, present.tensors[loss], past.tensors[loss])
        for column in past.layout.tasks[task]:
            name = f"{task}.{column}"
            tensors[name] = torch.where(take[..., None], present.tensors[name], past.tensors[name])
    return Records(past.layout, tensors)


def _where(rows: Tensor, one: Records, other: Records) -> Records:
    """One table's rows where `rows` [B] holds, else the other's."""
    tensors = {
        name: torch.where(rows.view(-1, *[1] * (values.ndim - 1)), values, other.tensors[name])
        for name, values in one.tensors.items()
    }
    return Records(one.layout, tensors)
