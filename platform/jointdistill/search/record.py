"""A sweep's record in MLflow: one parent, and a nested run for every run of its trials.

Trials only post messages; one thread of the driver writes them, a batch for a run at a time, so that
however many trials there are, MLflow has one writer and nobody trains slower for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from jointdistill.engine.subject import Subject
from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.engine.tracking import Tracking
from jointdistill.launch.run import final_metrics, retell
from jointdistill.launch.work import Note, Picture
from jointdistill.search.trial import Begun, Paused, Said
from jointdistill.types import Refusal, StepReport

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""How often what was posted is written."""
Posted = Begun | Said | Paused


class Record:
    """Writes what trials post, until the block ends; what is still there then is written last."""

    def __init__(
        self,
        tracking: Tracking,
        parent: TrackedRun,
        collect: Callable[[], Iterable[Posted]],
        say: Callable[[str], None],
        every_s: float = EVERY_S,
    ) -> None:
        self._tracking, self._parent, self._collect, self._say = tracking, parent, collect, say
        self._every_s = every_s
        self._subjects: dict[str, Subject] = {}
        self._open: dict[str, TrackedRun] = {}
        self._finished: set[str] = set()
        self._cost: dict[str, dict[str, float]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="record", daemon=True)

    def __enter__(self) -> Record:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._write()
        for record in self._open.values():  # stopped by their scheduler, or with the sweep
            record.close("KILLED")

    def run_of(self, run: str) -> TrackedRun:
        """The record of a run of this sweep, to write more into it."""
        subject = replace(self._subjects[run], parent=self._parent.run_id)
        return self._tracking.open(run, subject)

    def _walk(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._write()
            except Exception:
                log.exception("A sweep's record could not be written; it is tried again.")

    def _write(self) -> None:
        reports: dict[str, list[StepReport]] = {}
        pictures: list[tuple[str, Picture]] = []
        paused: list[Paused] = []
        for posted in self._collect():
            match posted:
                case Begun(run, subject):
                    self._subjects[run] = subject
                case Said(run, StepReport() as report):
                    reports.setdefault(run, []).append(report)
                case Said(run, Picture() as picture):
                    pictures.append((run, picture))
                case Said(run, Note(text)):
                    self._say(f"{run}: {text}")
                case Paused():
                    paused.append(posted)
        for run, told in reports.items():
            if record := self._of(run):
                record.report(*told)
        for run, picture in pictures:
            if record := self._of(run):
                record.picture(f"{picture.name}-{picture.step:06d}.png", picture.png)
        for each in paused:
            self._pause(each)

    def _pause(self, paused: Paused) -> None:
        record = self._of(paused.run)
        if record is None:
            return
        answer, cost = paused.answer, self._cost.setdefault(paused.run, {})
        for name in ("seconds", "gpu_hours", "teacher_s"):
            cost[name] = cost.get(name, 0.0) + getattr(answer, name)
        metrics = {f"cost/{name}": value for name, value in cost.items()}
        if paused.outcome:
            metrics |= final_metrics(paused.outcome)
        record.report(StepReport(paused.step, 0, metrics))
        if paused.outcome or answer.failure:
            record.close("FINISHED" if paused.outcome else "FAILED")
            del self._open[paused.run]
            self._finished.add(paused.run)

    def _of(self, run: str) -> TrackedRun | None:
        """The run's record, opened by its first message."""
        if run not in self._open and run in self._subjects and run not in self._finished:
            with suppress(Refusal):  # MLflow is away: the storage keeps the reports, a later start tells them
                record = self.run_of(run)
                retell(record, run, self._tracking.store)
                self._open[run] = record
        return self._open.get(run)


def collector(queue: Any) -> Callable[[], list[Posted]]:
    """What came into a Ray queue since the last call."""

    def collect() -> list[Posted]:
        return list(queue.get_nowait_batch(queue.size()))

    return collect
