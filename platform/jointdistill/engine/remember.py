"""Brings a run's trajectories to life: what they must know of it, and the replay of the teachers' ways."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jointdistill.data.cache import Cache
from jointdistill.data.loader import Slices, in_order
from jointdistill.engine.objective import ask
from jointdistill.engine.parts import Parts
from jointdistill.nets.way import Moment
from jointdistill.recipe import digest
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher
from jointdistill.trajectory.arrow import from_bytes, to_bytes
from jointdistill.trajectory.base import Setting, Trajectory
from jointdistill.trajectory.judge import Judge
from jointdistill.trajectory.record import Anchor, Layout, Records
from jointdistill.trajectory.sight import replay


def remember(parts: Parts, train: Cache, slices: Slices, data: str, store: Store) -> tuple[Trajectory, ...]:
    """The experiment's trajectories; empty, and free, where it has none. Every rank must call it.

    `data` is the data set's fingerprint.
    """
    setting = Setting(
        tasks=parts.tasks,
        layers=tuple(parts.network.channels),
        images=len(train),
        labelled={task: frozenset(rows.tolist()) for task, rows in slices.labelled.items()},
        teachers={name: teacher.card.tasks for name, teacher in parts.teachers.items()},
        steps=parts.experiment.optimise.steps,
        seed=parts.experiment.seed,
        device=parts.ranks.device,
    )
    sources = []
    for recipe in parts.experiment.trajectory:
        anchors = {}
        for name, teacher in parts.teachers.items():
            tasks = {task: parts.tasks[task] for task in teacher.card.tasks}
            layout = recipe.replayed(tasks)
            if layout is not None and teacher.way:
                anchors[name] = Replay(parts, train, slices, data, store, layout).of(teacher, tasks)
        sources.append(recipe.build(replace(setting, anchors=anchors)))
    return tuple(sources)


@dataclass(frozen=True)
class Replay:
    """What a teacher knew of the student's images at each moment of its way.

    A teacher that was trained on other data has no records of these images, so its anchors are asked anew.
    The records stay on the store, as `trajectories/TEACHER/QUESTION/STEP.arrow`.
    """

    parts: Parts
    train: Cache
    slices: Slices
    data: str
    store: Store
    layout: Layout

    def of(self, teacher: Teacher, tasks: Mapping[str, Task]) -> tuple[Anchor, ...]:
        """The teacher's anchors, earliest first."""
        return tuple(
            Anchor(moment.step, moment.losses, self._records(teacher, moment, tasks))
            for moment in teacher.way
        )

    def _records(self, teacher: Teacher, moment: Moment, tasks: Mapping[str, Task]) -> Records:
        labels = {task: [self.train.keys[row] for row in self.slices.labelled[task]] for task in tasks}
        fingerprints = {
            "data": self.data,
            "labels": digest({task: list(keys) for task, keys in labels.items()}),
            "teacher": teacher.card.digest,
            "anchor": moment.digest,
        }
        question = digest([self.layout.describe(), dict(fingerprints)])[:16]
        key = f"trajectories/{teacher.card.digest}/{question}/{moment.step:09d}.arrow"
        with suppress(Missing):
            return from_bytes(self.store.get(key), self.layout, fingerprints)
        records = self._asked(teacher, moment, tasks)
        if self.parts.ranks.first:
            with suppress(AlreadyThere):
                self.store.put(key, to_bytes(records, fingerprints))
        return records

    @torch.no_grad()
    def _asked(self, teacher: Teacher, moment: Moment, tasks: Mapping[str, Task]) -> Records:
        """Each rank asks of its share of the images; the shares are put together on every rank."""
        ranks, labelled = self.parts.ranks, {task: self.slices.labelled[task] for task in tasks}
        allowed = {task: frozenset(rows.tolist()) for task, rows in labelled.items()}
        judge = Judge(tasks, allowed, len(self.train), ranks.device)
        images: list[Tensor] = []
        mine: list[Records] = []
        for batch in in_order(self.train, tasks, labelled, ranks.share, self.slices.train):
            here = batch.to(ranks.device)
            taught = ask({"finished": teacher}, here)
            with teacher.at(moment):
                said = teacher(here)
            if not batch.labelled:
                continue  # this rank only kept the others company
            images.append(batch.index)
            mine.append(replay(said, taught, here, judge, self.layout))
        table = Records.empty(self.layout, len(self.train))
        together = {
            name: torch.cat([one.tensors[name].cpu() for one in mine]) for name in self.layout.columns
        }
        for tensors, _ in ranks.gather(({"image": torch.cat(images), **together}, {})):
            rows = Records(self.layout, {name: tensors[name] for name in self.layout.columns})
            table.put(tensors["image"], rows)
        return table
