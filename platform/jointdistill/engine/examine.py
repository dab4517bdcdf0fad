"""What is asked of teachers before they teach, and of the student as it learns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from jointdistill.data.cache import Cache
from jointdistill.data.loader import Rows, Slices, in_order
from jointdistill.engine.evaluate import Scores, evaluate, supervised_losses
from jointdistill.engine.parts import Parts
from jointdistill.recipe import describe, digest
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.tasks.base import Task
from jointdistill.types import Batch, Feedback, Prediction, Refusal


@dataclass(frozen=True)
class Report:
    """A teacher on the feedback slice."""

    scores: Scores
    losses: dict[str, float]
    """Task → supervised loss."""


@dataclass(frozen=True)
class Examiner:
    """Examines on the feedback slice, and on the validation split."""

    parts: Parts
    train: Cache
    slices: Slices
    validation: Cache
    data: str
    """Fingerprint of the data set."""
    store: Store

    def teachers(self) -> dict[str, Report]:
        """Every teacher on the feedback slice, remembered on the store by digest.

        Raises `Refusal` where one stays below a floor.
        """
        reports = {}
        for name, teacher in self.parts.teachers.items():
            tasks = {task: self.parts.tasks[task] for task in teacher.card.tasks if task in self.parts.tasks}
            heard = {task: self.slices.feedback[task] for task in tasks}
            key = self._key(teacher.card.digest, heard, tasks)
            report = self._remembered(key)
            if report is None:
                report = self._examine(teacher, heard, tasks)
                self._remember(key, report)
            refuse_weak(name, report.scores, self.parts.experiment.floors, tasks)
            reports[name] = report
        return reports

    def feedback(self, teachers: Mapping[str, Report]) -> Feedback:
        """The student beside its teachers, as weightings and trajectories hear it."""
        with as_exported(self.parts):
            losses = supervised_losses(
                self._student,
                self._batches(self.train, self.slices.feedback),
                self.parts.tasks,
                self.parts.ranks,
            )
        return Feedback(self.parts.step, losses, {name: report.losses for name, report in teachers.items()})

    def validation_scores(self) -> Scores:
        """The student on the validation split."""
        labels = {task: self.validation.has(task).nonzero()[0] for task in self.parts.tasks}
        with as_exported(self.parts):
            batches = self._batches(self.validation, labels)
            return evaluate(self._student, batches, self.parts.tasks, self.parts.ranks)

    def _student(self, batch: Batch) -> Prediction:
        with self.parts.autocast():
            return self.parts.student(batch.image)  # type: ignore[no-any-return]

    def _examine(
        self, teacher: Callable[[Batch], Prediction], heard: Mapping[str, Rows], tasks: Mapping[str, Task]
    ) -> Report:
        ranks = self.parts.ranks
        scores = evaluate(teacher, self._batches(self.train, heard), tasks, ranks)
        return Report(scores, supervised_losses(teacher, self._batches(self.train, heard), tasks, ranks))

    def _batches(self, cache: Cache, labels: Mapping[str, Rows]) -> Iterator[Batch]:
        return in_order(cache, self.parts.tasks, labels, self.parts.ranks.share)

    def _key(self, teacher: str, heard: Mapping[str, Rows], tasks: Mapping[str, Task]) -> str:
        """Where a teacher's report lies; empty for a teacher that nothing identifies."""
        if not teacher:
            return ""
        asked = {task: [self.train.keys[row] for row in rows] for task, rows in heard.items()}
        question = digest([self.data, describe(asked), describe(tasks)])
        return f"teachers/{teacher}/feedback-{question[:16]}.json"

    def _remembered(self, key: str) -> Report | None:
        if not key:
            return None
        with suppress(Missing, ValueError, KeyError):
            said = json.loads(self.store.get(key))
            return Report(said["scores"], said["losses"])
        return None

    def _remember(self, key: str, report: Report) -> None:
        if key and self.parts.ranks.first:
            with suppress(AlreadyThere):
                content = json.dumps({"scores": report.scores, "losses": report.losses}, indent=2)
                self.store.put(key, content.encode())


@contextmanager
def as_exported(parts: Parts) -> Iterator[None]:
    """The student as it would be exported: its average where one is kept, in evaluation mode."""
    parts.student.eval()
    if parts.average:
        parts.average.swap()
    try:
        yield
    finally:
        if parts.average:
            parts.average.swap()
        parts.student.train()


def refuse_weak(teacher: str, scores: Scores, floors: Mapping[str, float], tasks: Mapping[str, Task]) -> None:
    """Refuse a teacher whose score stays below a floor (above, where less is better)."""
    for metric, floor in floors.items():
        task, name = metric.split("/")
        if task not in tasks or metric not in scores:
            continue
        score, more_is_better = scores[metric], tasks[task].scores[name]
        if not (score >= floor if more_is_better else score <= floor):
            raise Refusal(
                f"The teacher '{teacher}' reaches {metric} {score:.3f} on the feedback slice, and "
                f"the floor is {floor:.3f}: check its classes and units, train it longer, or move "
                f"--floors.{metric}."
            )
