"""Brings a run's trajectories to life: what they must know of it, and the replay of the teachers' ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import cast

import torch
from torch import Tensor

from jointdistill.data.loader import in_order
from jointdistill.engine.examine import Examiner
from jointdistill.engine.objective import ask
from jointdistill.nets.way import Moment
from jointdistill.recipe import digest
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher
from jointdistill.trajectory.arrow import SCHEMA, Rows
from jointdistill.trajectory.base import Setting, Trajectory
from jointdistill.trajectory.index import put_index
from jointdistill.trajectory.judge import Judge
from jointdistill.trajectory.record import Anchor, Layout, Records
from jointdistill.trajectory.replayed import Replayed
from jointdistill.trajectory.sight import replay
from jointdistill.types import Batch, Prediction

Say = Callable[[str], None]


def _silent(sentence: str) -> None:
    """Nobody listens."""


def remember(examiner: Examiner, say: Say = _silent) -> tuple[Trajectory, ...]:
    """The experiment's trajectories; empty, and free, where it has none. Every rank must call it.

    `say` is told, on the first rank, what on the store was passed over and why.
    """
    parts, setting = examiner.parts, setting_of(examiner)
    sources = []
    for recipe in parts.experiment.trajectory:
        recipe.check(setting)
        anchors = {}
        for name, teacher in parts.teachers.items():
            tasks = {task: parts.tasks[task] for task in teacher.card.tasks}
            layout = recipe.replayed(tasks)
            if layout is not None and teacher.way:
                anchors[name] = Replay(examiner, layout, say).of(teacher, tasks)
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
    compare with the student's here, so its anchors are asked anew. The records stay on the store; those
    whose digests do not hold are asked for once more.
    """

    examiner: Examiner
    layout: Layout
    say: Say = _silent

    def of(self, teacher: Teacher, tasks: Mapping[str, Task]) -> tuple[Anchor, ...]:
        """The teacher's anchors, earliest first."""
        fingerprints = self._fingerprints(teacher, tasks)
        question = digest([SCHEMA, self.layout.describe(), dict(fingerprints)])[:16]
        folder = f"trajectories/{teacher.card.digest}/{question}"
        anchors = []
        for moment in teacher.way:
            hangs_on = {**fingerprints, "anchor": moment.digest}
            kept = Replayed(self.examiner.store, folder, moment.step, self.layout, hangs_on)
            anchors.append(self._anchor(teacher, moment, tasks, kept))
        if self.examiner.parts.ranks.first:
            put_index(self.examiner.store, folder)
        return tuple(anchors)

    def _anchor(self, teacher: Teacher, moment: Moment, tasks: Mapping[str, Task], kept: Replayed) -> Anchor:
        """Its weights are fetched only where it must be asked."""
        earlier = cache(partial(teacher.at, moment))

        def answer(batch: Batch) -> Prediction:
            return cast("Prediction", earlier()(batch))

        report = self.examiner.report(answer, teacher.card, moment.digest)
        records = self._records(kept, lambda: self._asked(teacher, earlier(), tasks), report.losses)
        return Anchor(moment.step, report.losses, records)

    def _fingerprints(self, teacher: Teacher, tasks: Mapping[str, Task]) -> dict[str, str]:
        """What the records of all anchors hang on, and the losses beside them."""
        keys, slices = self.examiner.train.keys, self.examiner.slices
        return {
            "data": self.examiner.data,
            "labels": digest({task: [keys[row] for row in slices.labelled[task]] for task in tasks}),
            "feedback": digest({task: [keys[row] for row in slices.feedback[task]] for task in tasks}),
            "teacher": teacher.card.digest,
        }

    def _records(self, kept: Replayed, asked: Callable[[], Rows], losses: Mapping[str, float]) -> Records:
        """The first rank looks on the store and tells what it reads, so that no rank can find another state;
        where nothing holds, each rank asks of its share of the images and writes it."""
        ranks = self.examiner.parts.ranks
        tensors, said = ranks.told_by_first(kept.look)
        if ranks.first:
            for sentence in cast("list[str]", said["passed"]):
                self.say(sentence)
        if tensors:
            return self._table([tensors])
        name = str(said["next"])
        mine = asked()
        part = kept.put(name, ranks.rank, mine)
        everybody = ranks.gather(({"image": mine.image, **mine.records.tensors}, part))
        if ranks.first:  # every rank has written its part: it could not have sent it otherwise
            kept.finish(name, losses, [part for _, part in everybody])
        return self._table([tensors for tensors, _ in everybody])

    def _table(self, shares: list[dict[str, Tensor]]) -> Records:
        """The shares put together: one row an image of the training cache."""
        table = Records.empty(self.layout, len(self.examiner.train))
        for tensors in shares:
            rows = Records(self.layout, {name: tensors[name] for name in self.layout.columns})
            table.put(tensors["image"], rows)
        return table

    @torch.no_grad()
    def _asked(self, finished: Teacher, earlier: Teacher, tasks: Mapping[str, Task]) -> Rows:
        """What the earlier teacher knew of this rank's share of the images, beside the finished one."""
        train, slices, ranks = self.examiner.train, self.examiner.slices, self.examiner.parts.ranks
        labelled = {task: slices.labelled[task] for task in tasks}
        allowed = {task: frozenset(rows.tolist()) for task, rows in labelled.items()}
        judge = Judge(tasks, allowed, len(train), ranks.device)
        images = [torch.empty(0, dtype=torch.int64)]
        mine = [Records.empty(self.layout, 0)]
        for batch in in_order(train, tasks, labelled, ranks.share, slices.train):
            here = batch.to(ranks.device)
            taught, said = ask({"finished": finished}, here), earlier(here)
            if not batch.labelled:
                continue  # this rank only kept the others company
            images.append(batch.index)
            mine.append(replay(said, taught, here, judge, self.layout).to("cpu"))
        together = {name: torch.cat([one.tensors[name] for one in mine]) for name in self.layout.columns}
        return Rows(torch.cat(images), Records(self.layout, together))
