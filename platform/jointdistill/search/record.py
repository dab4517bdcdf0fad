"""A sweep's record in MLflow: one parent, and a nested run for every run of its trials.

Trials only post messages; one thread of the driver writes them, a batch for a run at a time, so that
however many trials there are, MLflow has one writer and nobody trains slower for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

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
LONG_S = 1.0
"""A server that refuses after longer than this is away for all runs."""
REST = 10.0
"""How many times as long as it kept us waiting it is left alone then."""


@dataclass
class Told:
    """What is known of a run, and what of it is not written yet."""

    subject: Subject
    waiting: list[Said | Paused] = field(default_factory=list)
    record: TrackedRun | None = None
    """Opened by its first message."""
    cost: dict[str, float] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    """Rungs whose answer is written."""
    finished: bool = False


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
        self._every_s, self._rests_until = every_s, 0.0
        self._runs: dict[str, Told] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="record", daemon=True)

    def __enter__(self) -> Record:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._rests_until = 0.0
        self._write()
        for told in self._runs.values():  # stopped by their scheduler, or with the sweep
            if told.record and not told.finished:
                told.record.close("KILLED")

    def run_of(self, run: str) -> TrackedRun:
        """The record of a run of this sweep, to write more into it."""
        return self._tracking.open(run, replace(self._runs[run].subject, parent=self._parent.run_id))

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
                    self._runs.setdefault(posted.run, Told(posted.subject))
                case Said(message=Note(text)):
                    self._say(f"{posted.run}: {text}")
                case Said() | Paused():
                    self._runs[posted.run].waiting.append(posted)
        if time.monotonic() < self._rests_until:
            return
        for run, told in self._runs.items():
            began = time.monotonic()
            try:
                if told.waiting:
                    self._write_of(run, told)
            except Refusal as away:
                # The storage keeps what is told, and a later start tells it.
                took = time.monotonic() - began
                if took > LONG_S and not self._ended.is_set():
                    log.warning("%s The sweep goes on, and tells it later.", away)
                    self._rests_until = time.monotonic() + REST * took
                    return
            except Exception:  # the others are not to wait for it
                log.exception("The record of %s could not be written; it is tried again.", run)

    def _write_of(self, run: str, told: Told) -> None:
        """What a run has told since the last time, its reports in one batch; what is told twice is written
        once. Raises `Refusal` where MLflow is away before the run was opened."""
        if told.record is None:
            record = self.run_of(run)
            retell(record, run, self._tracking.store)
            told.record = record
        if not told.finished:
            messages = [each.message for each in told.waiting if isinstance(each, Said)]
            told.record.report(*(each for each in messages if isinstance(each, StepReport)))
            for picture in messages:
                if isinstance(picture, Picture):
                    told.record.picture(f"{picture.name}-{picture.step:06d}.png", picture.png)
            for paused in told.waiting:
                if isinstance(paused, Paused) and paused.step not in told.paused:
                    _pause(told.record, told, paused)
        told.waiting.clear()


def _pause(record: TrackedRun, told: Told, paused: Paused) -> None:
    """Write what a run has cost so far, and its end where it has come to it."""
    answer = paused.answer
    cost = {
        name: told.cost.get(name, 0.0) + getattr(answer, name)
        for name in ("seconds", "gpu_hours", "teacher_s")
    }
    metrics = {f"cost/{name}": value for name, value in cost.items()}
    if paused.outcome:
        metrics |= final_metrics(paused.outcome)
    record.report(StepReport(paused.step, 0, metrics))
    told.cost = cost
    told.paused.add(paused.step)
    if paused.outcome or answer.failure:
        record.close("FINISHED" if paused.outcome else "FAILED")
        told.finished = True
