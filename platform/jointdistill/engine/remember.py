"""Brings a run's trajectories to life: what they must know of it, and the replay of the teachers' ways."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from jointdistill.data.loader import in_order
from jointdistill.engine.examine import Examiner
from jointdistill.engine.objective import ask
from jointdistill.nets.way import Moment
from jointdistill.recipe import digest
from jointdistill.store.base import AlreadyThere
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher
from jointdistill.trajectory.arrow import from_bytes, to_bytes
from jointdistill.trajectory.base import Setting, Trajectory
from jointdistill.trajectory.judge import Judge
from jointdistill.trajectory.record import Anchor, Layout, Records
from jointdistill.trajectory.sight import replay


def remember(examiner: Examiner) -> tuple[Trajectory, ...]:
    """The experiment's trajectories; empty, and free, where it has none. Every rank must call it."""
    parts, setting = examiner.parts, setting_of(examiner)
    sources = []
    for recipe in parts.experiment.trajectory:
        recipe.check(setting)
        anchors = {}
        for name, teacher in parts.teachers.items():
            tasks = {task: parts.tasks[task] for task in teacher.card.tasks}
            layout = recipe.replayed(tasks)
            if layout is not None and teacher.way:
                anchors[name] = Replay(examiner, layout).of(teacher, tasks)
        sources.append(recipe.build(replace(setting, anchors=anchors)))
    return tuple(sources)


def setting_of(examiner: Examiner) -> Setting:
    """What is known of a run before any anchor is replayed."""
    parts, slices = examiner.parts, examiner.slices
    return Setting(
        tasks=parts.tasks,
        layers=tuple(parts.network.channels),
        images=len(examiner.train),
        labelled={task: frozenset(rows.tolist()) for task, rows in slices.labelled.items()},
        heard=frozenset(task for task, rows in slices.feedback.items() if len(rows)),
        teachers={name: teacher.card.tasks for name, teacher in parts.teachers.items()},
        moments={name: len(teacher.way) for name, teacher in parts.teachers.items()},
        steps=parts.experiment.optimise.steps,
        seed=parts.experiment.seed,
        device=parts.ranks.device,
    )


@dataclass(frozen=True)
class Replay:
    """What a teacher knew of the student's images at each moment of its way.

    A teacher that was trained on other data has no records of these images, and its losses there do not
    compare with the student's here, so its anchors are asked anew. The records stay on the store, as
    `trajectories/TEACHER/QUESTION/STEP.arrow`.
    """

    examiner: Examiner
    layout: Layout

    def of(self, teacher: Teacher, tasks: Mapping[str, Task]) -> tuple[Anchor, ...]:
        """The teacher's anchors, earliest first."""
        return tuple(
            Anchor(moment.step, self._losses(teacher, moment), self._records(teacher, moment, tasks))
            for moment in teacher.way
        )

    def _losses(self, teacher: Teacher, moment: Moment) -> dict[str, float]:
        """Task → supervised loss of an anchor on the student's feedback slice."""
        with teacher.at(moment):
            return self.examiner.report(teacher, teacher.card, moment.digest).losses

    def _records(self, teacher: Teacher, moment: Moment, tasks: Mapping[str, Task]) -> Records:
        train, slices = self.examiner.train, self.examiner.slices
        labels = {task: [train.keys[row] for row in slices.labelled[task]] for task in tasks}
        fingerprints = {
            "data": self.examiner.data,
            "labels": digest({task: list(keys) for task, keys in labels.items()}),
            "teacher": teacher.card.digest,
            "anchor": moment.digest,
        }
        question = digest([self.layout.describe(), dict(fingerprints)])[:16]
        key = f"trajectories/{teacher.card.digest}/{question}/{moment.step:09d}.arrow"
        store, ranks = self.examiner.store, self.examiner.parts.ranks
        folder = key.rpartition("/")[0]
        if ranks.told_by_first(lambda: ({}, {"there": key in store.list(folder)}))[1]["there"]:
            return from_bytes(store.get(key), self.layout, fingerprints, f"{store}/{key}")
        records = self._asked(teacher, moment, tasks)
        if ranks.first:
            with suppress(AlreadyThere):
                store.put(key, to_bytes(records, fingerprints))
        return records

    @torch.no_grad()
    def _asked(self, teacher: Teacher, moment: Moment, tasks: Mapping[str, Task]) -> Records:
        """Each rank asks of its share of the images; the shares are put together on every rank."""
        train, slices, ranks = self.examiner.train, self.examiner.slices, self.examiner.parts.ranks
        labelled = {task: slices.labelled[task] for task in tasks}
        allowed = {task: frozenset(rows.tolist()) for task, rows in labelled.items()}
        judge = Judge(tasks, allowed, len(train), ranks.device)
        images: list[Tensor] = []
        mine: list[Records] = []
        for batch in in_order(train, tasks, labelled, ranks.share, slices.train):
            here = batch.to(ranks.device)
            taught = ask({"finished": teacher}, here)
            with teacher.at(moment):
                said = teacher(here)
            if not batch.labelled:
                continue  # this rank only kept the others company
            images.append(batch.index)
            mine.append(replay(said, taught, here, judge, self.layout))
        table = Records.empty(self.layout, len(train))
        together = {
            name: torch.cat([one.tensors[name].cpu() for one in mine]) for name in self.layout.columns
        }
        for tensors, _ in ranks.gather(({"image": torch.cat(images), **together}, {})):
            rows = Records(self.layout, {name: tensors[name] for name in self.layout.columns})
            table.put(tensors["image"], rows)
        return table
