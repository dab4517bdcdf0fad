"""The teachers' way: the student is led by the moment of its teacher that is one step ahead of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, final

import torch
from torch import Tensor
from torch.nn import functional as F

from jointdistill.tasks.base import Task
from jointdistill.tasks.geometry import at_points
from jointdistill.trajectory.base import (
    Setting,
    Trajectory,
    TrajectoryRecipe,
    ramped,
    refuse_knobs,
    refuse_layer,
)
from jointdistill.trajectory.past import Past
from jointdistill.trajectory.points import energy
from jointdistill.trajectory.record import Anchor, Layout
from jointdistill.types import Batch, Feedback, Prediction, Refusal, State


@dataclass(frozen=True)
class TeacherWay(TrajectoryRecipe):
    """Route-constrained learning from records: for each teacher, with its anchor m ahead of the student,

    L_T = ‖Â^S[E_m] − Â^m[E_m]‖² + Σ_i Σ_j A_j d_i(m_j, now_j) / (Σ_j A_j + ε)

    Â is the attention over the points that the view shows, of length 1. m is the first anchor whose
    feedback loss lies more than `delta` below the student's, as a mean over the teacher's tasks of the
    log ratio. Once m is the teacher's last anchor, the teacher itself says it better: the loss is 0.
    After RCO (Jin et al., 1904.09149), which keeps whole models.
    """

    free: ClassVar[tuple[str, ...]] = ("gain", "delta", "ramp", "memory")

    gain: float = 0.1
    """Factor on the loss."""
    delta: float = 0.05
    """How far ahead an anchor must be, as a log ratio of losses (0.05 is about 5 %)."""
    ramp: float = 0.1
    """Share of the run over which the gain rises from 0."""
    points: int = 32
    """Essential points an image and anchor."""
    grid: tuple[int, int] = (16, 32)
    """Rows and columns of the canonical grid."""
    layer: str = "decoder"
    """The feature layer whose attention is compared; student and teacher must both have it."""
    memory: float = 0.5
    """Share of the old value in the running mean of the student's log losses, a round of feedback each."""

    def __post_init__(self) -> None:
        refuse_knobs("TeacherWay", self.gain, self.ramp)
        if not 0 <= self.memory < 1:
            raise Refusal(
                f"TeacherWay's memory {self.memory} would never learn: give a number in 0 ≤ memory < 1."
            )

    def replayed(self, tasks: Mapping[str, Task]) -> Layout:
        """How to record the anchors of a teacher of these tasks."""
        return Layout.of(tasks, self.layer, self.grid, self.points)

    def check(self, setting: Setting) -> None:
        """Raises `Refusal` where the layer is missing, no teacher has a way to follow, or nobody can tell
        how far the student has come on it."""
        refuse_layer("TeacherWay", self.layer, setting.layers)
        Layout.of(setting.tasks, self.layer, self.grid, self.points)
        leading = [teacher for teacher, moments in setting.moments.items() if moments > 1]
        if not leading:
            raise Refusal(
                "TeacherWay needs a teacher with at least two anchors: train one here with anchors kept, or "
                "use OwnPast."
            )
        for teacher in leading:
            if not setting.heard & set(setting.teachers[teacher]):
                raise Refusal(
                    f"TeacherWay cannot tell how far the student is on the way of '{teacher}': the feedback "
                    "slice has no label of its tasks, so raise --sampling.labels, or use OwnPast."
                )

    def build(self, setting: Setting) -> TeacherWayTrajectory:
        """Raises `Refusal` where the anchors know other images than the run."""
        for teacher, anchors in setting.anchors.items():
            for anchor in anchors:
                if len(anchor.records) != setting.images:
                    raise Refusal(
                        f"{teacher}'s anchors know {len(anchor.records)} images, the run has "
                        f"{setting.images}: replay them on the run's training cache."
                    )
        return TeacherWayTrajectory(self, setting)


class Mean(NamedTuple):
    """A running mean that does not start from 0: its weights are counted along."""

    total: float = 0.0
    weight: float = 0.0

    @property
    def value(self) -> float:
        """The mean."""
        return self.total / self.weight

    def after(self, value: float, memory: float) -> Mean:
        """The mean with one more value."""
        return Mean(memory * self.total + (1 - memory) * value, memory * self.weight + (1 - memory))


@final
class TeacherWayTrajectory(Trajectory):
    """See `TeacherWay`. The anchors come with the setting and stand outside its state."""

    def __init__(self, recipe: TeacherWay, setting: Setting) -> None:
        self._recipe, self._setting = recipe, setting
        self._anchors = {
            teacher: tuple(replace(one, records=one.records.to(setting.device)) for one in anchors)
            for teacher, anchors in setting.anchors.items()
            if len(anchors) > 1
        }
        self._means: dict[str, Mean] = {}

    def ahead(self, teacher: str) -> int:
        """The place m of the anchor that leads the student; 0 before the first feedback."""
        anchors = self._anchors[teacher]
        heard = [task for task in self._means if all(one.loss.get(task, 0.0) > 0 for one in anchors)]
        if not heard:
            return 0
        for place, anchor in enumerate(anchors):
            lead = sum(self._means[task].value - math.log(anchor.loss[task]) for task in heard) / len(heard)
            if lead > self._recipe.delta:
                return place
        return len(anchors) - 1

    def loss(self, now: Prediction, taught: Mapping[str, Prediction], batch: Batch) -> Tensor:
        """[] this rank's share of L_T."""
        total = torch.zeros((), device=batch.image.device)
        gain = ramped(self._recipe.gain, self._recipe.ramp, batch.position.step, self._setting.steps)
        ahead = [(anchors, self.ahead(teacher)) for teacher, anchors in self._anchors.items()]
        leading = [anchors[place] for anchors, place in ahead if place < len(anchors) - 1]
        if gain > 0 and leading:
            mine = energy(now.features[self._recipe.layer], self._recipe.grid)  # for all anchors: it is dear
            for anchor in leading:
                total = total + self._to_anchor(anchor, mine, now, batch).sum()
        return gain * total / batch.total

    def observe(self, feedback: Feedback) -> None:
        """Note how far the student is."""
        for task, loss in feedback.student.items():
            if math.isfinite(loss) and loss > 0:  # a task without labels in the slice says nothing
                self._means[task] = self._means.get(task, Mean()).after(math.log(loss), self._recipe.memory)

    def log(self) -> dict[str, float]:
        """The place of the anchor that leads, a teacher."""
        return {f"trajectory/anchor/{teacher}": float(self.ahead(teacher)) for teacher in self._anchors}

    def state(self) -> State:
        """The running means."""
        return {}, {task: [mean.total, mean.weight] for task, mean in self._means.items()}

    def load(self, state: State) -> None:
        """Go on from the running means."""
        _, plain = state
        self._means = {}
        for task, mean in plain.items():
            assert isinstance(mean, list)
            total, weight = mean
            assert isinstance(total, float) and isinstance(weight, float)
            self._means[task] = Mean(total, weight)

    def _to_anchor(self, anchor: Anchor, attention: Tensor, now: Prediction, batch: Batch) -> Tensor:
        """[B] how far the student, with its attention [B, 1, h, w], is from an anchor."""
        layout = anchor.records.layout
        tasks = {name: task for name, task in self._setting.tasks.items() if name in layout.tasks}
        past = Past.of(anchor.records, batch, tasks)
        mine = at_points(attention, past.points)[..., 0]
        mine = F.normalize(mine * (past.attention > 0), dim=1)
        distance = (mine - F.normalize(past.attention, dim=1)).square().sum(1)
        share = past.attention / (past.attention.sum(1, keepdim=True) + 1e-6)  # [B, m]
        for name, task in tasks.items():
            distance = distance + (
                share * task.recall(past.columns[name], now.answers[name], past.points)
            ).sum(1)
        return distance
