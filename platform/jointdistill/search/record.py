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

from jointdistill.engine.subject import Subject
from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.engine.tracking import Tracking
from jointdistill.launch.run import final_metrics, retell
from jointdistill.launch.work import Note, Picture
from jointdistill.search.posts import Begun, Paused, Posted, Said
from jointdistill.types import Refusal, StepReport

log = logging.getLogger(__name__)

EVERY_S = 1.0
"""How often what was posted is written."""


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
        # Nobody waits for MLflow here: what it does not take now it gets a second later.
        self._tracking = replace(tracking, patience=replace(tracking.patience, seconds=0.0))
        self._parent, self._collect, self._say = parent, collect, say
        self._every_s = every_s
        self._subjects: dict[str, Subject] = {}
        self._open: dict[str, TrackedRun] = {}
        self._finished: set[str] = set()
        self._cost: dict[str, dict[str, float]] = {}
        self._paused: set[tuple[str, int]] = set()
        self._waiting: dict[str, list[Said | Paused]] = {}
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
        for posted in self._collect():
            match posted:
                case Begun():
                    self._subjects[posted.run] = posted.subject
                case Said(message=Note(text)):
                    self._say(f"{posted.run}: {text}")
                case Said() | Paused():
                    self._waiting.setdefault(posted.run, []).append(posted)
        for run in [*self._waiting]:
            try:
                if record := self._of(run):
                    self._write_of(record, self._waiting[run])  # what is told twice is written once
                    del self._waiting[run]
            except Exception:  # the others are not to wait for it
                log.exception("The record of %s could not be written; it is tried again.", run)

    def _write_of(self, record: TrackedRun, told: list[Said | Paused]) -> None:
        """What a run has told since the last time, its reports in one batch."""
        messages = [each.message for each in told if isinstance(each, Said)]
        record.report(*(each for each in messages if isinstance(each, StepReport)))
        for picture in messages:
            if isinstance(picture, Picture):
                record.picture(f"{picture.name}-{picture.step:06d}.png", picture.png)
        for paused in told:
            if isinstance(paused, Paused) and (paused.run, paused.step) not in self._paused:
                self._pause(record, paused)
                self._paused.add((paused.run, paused.step))

    def _pause(self, record: TrackedRun, paused: Paused) -> None:
        answer, before = paused.answer, self._cost.get(paused.run, {})
        cost = {
            name: before.get(name, 0.0) + getattr(answer, name)
            for name in ("seconds", "gpu_hours", "teacher_s")
        }
        metrics = {f"cost/{name}": value for name, value in cost.items()}
        if paused.outcome:
            metrics |= final_metrics(paused.outcome)
        record.report(StepReport(paused.step, 0, metrics))
        self._cost[paused.run] = cost
        if paused.outcome or answer.failure:
            record.close("FINISHED" if paused.outcome else "FAILED")
            del self._open[paused.run]
            self._finished.add(paused.run)

    def _of(self, run: str) -> TrackedRun | None:
        """The run's record, opened by its first message; none while MLflow is away."""
        if run in self._finished:
            del self._waiting[run]
        elif run not in self._open:
            with suppress(Refusal):  # MLflow is away: the storage keeps the reports, a later start tells them
                record = self.run_of(run)
                retell(record, run, self._tracking.store)
                self._open[run] = record
        return self._open.get(run)
