"""What is asked of teachers before they teach, and of the student as it learns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from jointdistill.data.cache import Cache
from jointdistill.data.loader import in_order
from jointdistill.data.sampling import Rows, Slices
from jointdistill.engine.evaluate import Report, Scores, evaluate
from jointdistill.engine.lineage import package_digest
from jointdistill.engine.parts import Parts
from jointdistill.recipe import describe, digest
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import TeacherCard
from jointdistill.types import Batch, Feedback, Prediction, Refusal, State
from jointdistill.weighting.base import Need


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
    busy: Callable[[], object] = lambda: None
    """Hears of every batch."""

    def teachers(self) -> dict[str, Report]:
        """Every teacher on the feedback slice, remembered on the store by digest.

        Raises `Refusal` where one stays below a floor.
        """
        reports = {}
        for name, teacher in self.parts.teachers.items():
            reports[name] = self.report(teacher, teacher.card, teacher.card.digest)
            refuse_weak(name, reports[name].scores, self.parts.experiment.floors, self.parts.tasks)
        return reports

    def report(self, teacher: Callable[[Batch], Prediction], card: TeacherCard, digest: str) -> Report:
        """A teacher on the feedback slice, remembered on the store by its digest; every rank must ask."""
        tasks = {task: self.parts.tasks[task] for task in card.tasks}
        heard = {task: self.slices.feedback[task] for task in tasks}
        key = self._key(digest, heard, tasks)
        report = self._remembered(key)
        if report is None:
            report = evaluate(teacher, self._batches(self.train, heard), tasks, self.parts.ranks)
            self._remember(key, report)
        return report

    def unchecked(self) -> list[str]:
        """What a run should know that its floors, or its weighting, have nothing to go by."""
        deaf = [task for task in self.parts.tasks if not len(self.slices.feedback[task])]
        floors = [floor for floor in self.parts.experiment.floors if floor.split("/")[0] in deaf]
        said = [
            f"Nobody checked the floor {floor}: the feedback slice has no label of it." for floor in floors
        ]
        if deaf and Need.FEEDBACK in self.parts.weighting.needs:
            recipe = type(self.parts.experiment.weighting).__name__
            said.append(
                f"{recipe} hears nothing of {', '.join(deaf)}: the feedback slice has no label of it."
            )
        return said

    def feedback(self, teachers: Mapping[str, Report]) -> Feedback:
        """The student beside its teachers, as weightings and trajectories hear it."""
        losses = self._examine_student(self.train, self.slices.feedback).losses
        return Feedback(self.parts.step, losses, {name: report.losses for name, report in teachers.items()})

    def validation_scores(self) -> Scores:
        """The student on the validation split."""
        labels = {task: self.validation.has(task).nonzero()[0] for task in self.parts.tasks}
        return self._examine_student(self.validation, labels).scores

    def _examine_student(self, cache: Cache, labels: Mapping[str, Rows]) -> Report:
        """In float32 whatever it trains in, since that is what is exported."""
        parts = self.parts
        with parts.as_exported():
            return evaluate(
                lambda batch: parts.student(batch.image),
                self._batches(cache, labels),
                parts.tasks,
                parts.ranks,
            )

    def _batches(self, cache: Cache, labels: Mapping[str, Rows]) -> Iterator[Batch]:
        for batch in in_order(cache, self.parts.tasks, labels, self.parts.ranks.share):
            self.busy()
            yield batch

    def _key(self, teacher: str, heard: Mapping[str, Rows], tasks: Mapping[str, Task]) -> str:
        """Where a teacher's report lies; empty for a teacher that nothing identifies."""
        if not teacher:
            return ""
        asked = {task: [self.train.keys[row] for row in rows] for task, rows in heard.items()}
        question = digest([self.data, describe(asked), describe(tasks), package_digest()])
        return f"teachers/{teacher}/feedback-{question[:16]}.json"

    def _remembered(self, key: str) -> Report | None:
        def look() -> State:
            with suppress(Missing, ValueError):
                return {}, json.loads(self.store.get(key))
            return {}, {}

        _, said = self.parts.ranks.told_by_first(look) if key else ({}, {})
        if said.keys() != {"scores", "losses"}:
            return None
        return Report(cast("Scores", said["scores"]), cast("dict[str, float]", said["losses"]))

    def _remember(self, key: str, report: Report) -> None:
        if key and self.parts.ranks.first:
            with suppress(AlreadyThere):
                content = json.dumps({"scores": report.scores, "losses": report.losses}, indent=2)
                self.store.put(key, content.encode())


def refuse_weak(teacher: str, scores: Scores, floors: Mapping[str, float], tasks: Mapping[str, Task]) -> None:
    """Refuse a teacher whose score stays below a floor (above, where less is better)."""
    for metric, floor in floors.items():
        task, name = metric.split("/")
        if metric not in scores:
            continue  # another teacher's task, or one without labels in the slice: see `unchecked`
        score, more_is_better = scores[metric], tasks[task].scores[name]
        if not (score >= floor if more_is_better else score <= floor):
            raise Refusal(
                f"The teacher '{teacher}' reaches {metric} {score:.3f} on the feedback slice, and "
                f"the floor is {floor:.3f}: check its classes and units, train it longer, or move "
                f"--floors.{metric}."
            )
