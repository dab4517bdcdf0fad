"""One run's record in MLflow, open for writing.

MLflow may go away while a run trains. What cannot be written waits in memory and, so that a killed driver
loses nothing, in the run's store under `spool/RUN_ID/`; it is sent with a later interval, or when the run
is continued, and then deleted there. MLflow takes an identical point twice as one, so sending again is
harmless.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal, Self, final

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param

from jointdistill.engine.claims import Superseded
from jointdistill.engine.subject import Subject
from jointdistill.store.base import AlreadyThere, Store
from jointdistill.store.registry import AWAY
from jointdistill.store.sealed import sha256
from jointdistill.types import Refusal, StepReport

log = logging.getLogger(__name__)

_PARAMS_A_BATCH, _POINTS_A_BATCH = 100, 1000
"""What a server takes at once."""
_POINTS = "points/"
_LONG_S, _REST = 1.0, 10
"""After a failure that took this long nothing is sent for so many times as long: a server that lets its
clients wait for a timeout costs training a tenth of its time at most."""

End = Literal["FINISHED", "FAILED", "KILLED"]
Away = type[Exception] | tuple[type[Exception], ...]
"""What a write may raise without being taken for a mistake of ours."""


@final
class TrackedRun:
    """One run, open for writing. Once it is open nothing here raises because MLflow is away."""

    def __init__(self, client: MlflowClient, run_id: str, store: Store) -> None:
        self.client, self.run_id, self._store = client, run_id, store
        self._waiting: list[tuple[str, bytes]] = []
        self._spooled: set[str] = set()
        self._written: dict[str, set[int]] = {}
        self._rests_until = 0.0

    def begin(self, subject: Subject) -> None:
        """Say what the run is, send what an earlier driver could not, and find which points it has."""
        self.client.update_run(self.run_id, status="RUNNING")
        params = [Param(name, value) for name, value in subject.params().items()]
        for first in range(0, len(params), _PARAMS_A_BATCH):
            self.client.log_batch(self.run_id, params=params[first : first + _PARAMS_A_BATCH])
        self.client.log_inputs(self.run_id, [_data_set(subject)])
        for key in self._store.list(self._spool):
            path, content = key.removeprefix(f"{self._spool}/"), self._store.get(key)
            self._waiting.append((path, content))
            self._spooled.add(path)
        for path, content in self._waiting:
            for point in _points(content) if path.startswith(_POINTS) else []:
                self._written.setdefault(point.key, set()).add(point.step)
        self._flush()
        for name in self.client.get_run(self.run_id).data.metrics:
            series = self.client.get_metric_history(self.run_id, name)
            self._written.setdefault(name, set()).update(point.step for point in series)

    def report(self, *reports: StepReport) -> None:
        """Write the metrics of an interval, or of several, in one batch.

        A resumed run walks again over the steps since its snapshot; what was written for them stays.
        """
        lines = []
        for report in reports:
            for name, value in report.metrics.items():
                written = self._written.setdefault(name, set())
                if report.step not in written:
                    written.add(report.step)
                    point = {"key": name, "value": value, "timestamp": report.time_ms, "step": report.step}
                    lines.append(f"{json.dumps(point)}\n")
        for first in range(0, len(lines), _POINTS_A_BATCH):
            content = "".join(lines[first : first + _POINTS_A_BATCH]).encode()
            # Two reports may fall on one step: the digest keeps them apart.
            self._send(f"{_POINTS}{reports[-1].step:09d}-{sha256(content)[:8]}.jsonl", content)

    def picture(self, name: str, png: bytes) -> None:
        """Keep a PNG as `pictures/NAME`."""
        self._send(f"pictures/{name}", png)

    def file(self, path: str, content: bytes) -> None:
        """Keep a file as an artifact: a report in Markdown, a figure, a table."""
        self._send(path, content)

    def tag(self, name: str, value: str) -> None:
        """Say something of the run that may change. Where MLflow is away it is left out."""
        self._try(f"the tag {name}", lambda: self.client.set_tag(self.run_id, name, value))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close("FINISHED")
        elif issubclass(kind, Superseded):
            log.warning("The run %s is somebody else's now, and its status theirs to write.", self.run_id)
        else:
            # Ctrl-C and SystemExit, which a signal's handler raises, are no exceptions of the program.
            self.close("FAILED" if issubclass(kind, Exception) else "KILLED")

    def close(self, status: End) -> None:
        """Write the status. A run that could not be written to the end stays open, and says so."""
        self._rests_until = 0.0  # there is no later interval
        ended = self._flush(files=False) and self._try(
            "the status", lambda: self.client.set_terminated(self.run_id, status)
        )
        self._rests_until = 0.0  # whether files are taken is another question
        if not self._flush() or not ended:
            log.error(
                f"MLflow is away: run {self.run_id} stays open, and {len(self._waiting)} entries wait in "
                f"{self._store}/{self._spool}. Start the same run again to write them."
            )
        elif self._waiting:
            log.error(
                f"MLflow's artifact store took no files of run {self.run_id}: {len(self._waiting)} wait in "
                f"{self._store}/{self._spool}. Start the same run again once it can be written from here."
            )

    @property
    def _spool(self) -> str:
        return f"spool/{self.run_id}"

    def _send(self, path: str, content: bytes) -> None:
        """Write an entry after all that wait. What does not get through is spooled at once."""
        self._waiting.append((path, content))
        self._flush()
        if all(path != waiting for waiting, _ in self._waiting):
            return
        try:
            with suppress(AlreadyThere):
                self._store.put(f"{self._spool}/{path}", content)
            self._spooled.add(path)
        except Refusal as away:
            log.warning("%s waits in memory only: %s", path, away)

    def _flush(self, *, files: bool = True) -> bool:
        """Write what waits, oldest first: whether no points wait any more.

        Files come after points and hold none of them up: they lie in a store of their own, for which this
        process may lack a client, or the right to write.
        """
        points = [entry for entry in self._waiting if entry[0].startswith(_POINTS)]
        others = [entry for entry in self._waiting if not entry[0].startswith(_POINTS)]
        while points and self._pass_on(*points[0], AWAY):
            points.pop(0)
        while files and others and self._pass_on(*others[0], Exception):
            others.pop(0)
        self._waiting = [*points, *others]
        return not points

    def _pass_on(self, path: str, content: bytes, away: Away) -> bool:
        if not self._try(path, partial(self._write, path, content), away):
            return False
        if path in self._spooled:
            self._spooled.discard(path)
            with suppress(Refusal):  # sent once more when the run goes on, which does no harm
                self._store.delete(f"{self._spool}/{path}")
        return True

    def _try(self, what: str, write: Callable[[], object], away: Away = AWAY) -> bool:
        began = time.monotonic()
        if began < self._rests_until:
            return False
        try:
            write()
        except away as wrong:
            now = time.monotonic()
            if now - began > _LONG_S:
                self._rests_until = now + _REST * (now - began)
            log.warning("MLflow did not take %s (%s); it is kept for later.", what, type(wrong).__name__)
            return False
        return True

    def _write(self, path: str, content: bytes) -> None:
        if path.startswith(_POINTS):
            self.client.log_batch(self.run_id, metrics=_points(content))
            return
        target = PurePosixPath(path)
        with TemporaryDirectory() as folder:
            file = Path(folder) / target.name
            file.write_bytes(content)
            self.client.log_artifact(
                self.run_id, str(file), str(target.parent) if target.parent.name else None
            )


def _points(content: bytes) -> list[Metric]:
    """The points of an entry."""
    return [Metric(**json.loads(line)) for line in content.splitlines()]


def _data_set(subject: Subject) -> DatasetInput:
    """The data set, as MLflow's pages list it."""
    source = json.dumps({"name": subject.data_set})
    return DatasetInput(Dataset(subject.data_set or "unnamed", subject.data[:12], "jointdistill", source))
