"""What is recorded of a run in MLflow. The driver alone writes; workers send it plain numbers and pictures.

MLflow may go away while a run trains. What cannot be written waits in memory and, so that a killed driver
loses nothing, in the run's store under `spool/RUN_ID/`; it is sent with a later interval, or when the run
is continued, and then deleted there. MLflow takes an identical point twice as one, so sending again is
harmless.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Literal, Self, TypeVar, final

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

from jointdistill.engine.lineage import package_digest
from jointdistill.engine.subject import IDENTITY, PACKAGE, Subject
from jointdistill.store.base import AlreadyThere, Store
from jointdistill.store.registry import AWAY, SQLITE, connect, in_words, redacted
from jointdistill.types import Refusal, StepReport

log = logging.getLogger(__name__)

_PARAMS_A_BATCH = 100
_POINTS = "points/"
_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Its pages are then about training, not about language models."""

_ONCE = "jointdistill.once"
"""A tag that one attempt to begin a run has and no other."""
_PASSING = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
"""MLflow's words for what may be otherwise a moment later; no reply at all is an internal error to it."""
_PAUSE_S = 1.0
"""Between two questions to a server that does not answer yet."""
_LONG_S, _REST = 1.0, 10
"""After a failure that took this long nothing is sent for so many times as long: a server that lets its
clients wait for a timeout costs training a tenth of its time at most."""

End = Literal["FINISHED", "FAILED", "KILLED"]
Answer = TypeVar("Answer")


def _silent(sentence: str) -> None:
    """Nobody listens."""


@final
@dataclass(frozen=True)
class Tracking:
    """One experiment of one MLflow server or database."""

    address: str
    client: MlflowClient
    experiment_id: str
    store: Store
    patience: Patience

    @classmethod
    def at(
        cls,
        address: str,
        experiment: str,
        store: Store,
        patience_s: float = 0.0,
        say: Callable[[str], None] = _silent,
    ) -> Self:
        """Find or make the experiment.

        A server that does not answer is asked again for `patience_s`, here and whenever a run is opened, and
        `say` is told once that it is waited for. Raises `Refusal` where it does not answer until then.
        """
        artifacts = None
        patience = Patience(address, patience_s, say)
        try:
            if address.startswith(SQLITE):
                folder = Path(address.removeprefix(SQLITE)).absolute().parent
                folder.mkdir(parents=True, exist_ok=True)
                artifacts = (folder / "artifacts").as_uri()
            client = connect(address)
            found = patience.ask(lambda: _experiment(client, experiment, artifacts))
        except AWAY as wrong:
            raise in_words(wrong, address) from None
        return cls(address, client, found, store, patience)

    def finished(self, name: str, subject: Subject) -> TrackedRun | None:
        """The finished run of this name and the subject's identity: nothing of it need be computed again."""
        try:
            run = self.patience.ask(lambda: self._newest(name, subject, "attributes.status = 'FINISHED'"))
        except AWAY as wrong:
            raise in_words(wrong, self.address) from None
        return TrackedRun(self.client, run.info.run_id, self.store) if run else None

    def open(self, name: str, subject: Subject) -> TrackedRun:
        """Go on with the newest run of this name and the subject's identity, or begin one.

        Raises `Refusal` where MLflow does not answer, or cannot take the names in the experiment.
        """
        try:
            return self.patience.ask(lambda: self._open(name, subject))
        except AWAY as wrong:
            raise in_words(wrong, self.address) from None

    def _open(self, name: str, subject: Subject) -> TrackedRun:
        """May be tried again after any failure: a run that was begun is found."""
        run = self._newest(name, subject)
        if run is None:
            run = self._begun(name, subject)
        elif run.data.tags.get(PACKAGE) != package_digest():
            log.warning("The code changed since run %s began; it goes on with the new code.", name)
            self.client.set_tag(run.info.run_id, f"{PACKAGE}.continued", package_digest())
        self._delete_twins(run)
        opened = TrackedRun(self.client, run.info.run_id, self.store)
        opened.begin(subject)
        return opened

    def _begun(self, name: str, subject: Subject) -> Run:
        tags = {**subject.tags(), _ONCE: secrets.token_hex(8)}
        return self.client.create_run(self.experiment_id, tags=tags, run_name=name)

    def _delete_twins(self, run: Run) -> None:
        """Where the reply to its beginning was lost, MLflow's client asked for a second run by itself."""
        once = run.data.tags.get(_ONCE)
        if once:
            for twin in self.client.search_runs([self.experiment_id], f"tags.`{_ONCE}` = '{once}'"):
                if twin.info.run_id != run.info.run_id:
                    self.client.delete_run(twin.info.run_id)

    def _newest(self, name: str, subject: Subject, *where: str) -> Run | None:
        mine = f"tags.`{IDENTITY}` = '{subject.identity}'", f"attributes.run_name = '{name}'"
        found = self.client.search_runs([self.experiment_id], " and ".join([*mine, *where]), max_results=1)
        return found[0] if found else None


@final
@dataclass(frozen=True)
class Patience:
    """How long a server is waited for that does not answer before a run has begun."""

    address: str
    seconds: float
    say: Callable[[str], None]

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """The answer. The question must be one that may be asked twice. Raises what MLflow's client raised
        last, or what will not pass."""
        until = time.monotonic() + (0.0 if self.address.startswith(SQLITE) else self.seconds)
        told = False
        while True:
            try:
                return question()
            except AWAY as wrong:
                if time.monotonic() > until or not _passes(wrong):
                    raise
                if not told:
                    told = True
                    self.say(
                        f"MLflow at {redacted(self.address)} does not answer: waiting up to "
                        f"{self.seconds:.0f} s for it."
                    )
                time.sleep(_PAUSE_S)


def _passes(wrong: Exception) -> bool:
    """Whether the same question may be answered a moment later."""
    return getattr(wrong, "error_code", "INTERNAL_ERROR") in _PASSING


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The id of an experiment, which is made where it is new."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifacts, _KIND))
        except MlflowException as wrong:
            if wrong.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another job was faster
    return str(found.experiment_id)


@final
class TrackedRun:
    """One run, open for writing. Once it is open nothing here raises because MLflow is away."""

    def __init__(self, client: MlflowClient, run_id: str, store: Store) -> None:
        self.client, self.run_id, self._store = client, run_id, store
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._spooled: set[str] = set()
        self._written: dict[str, set[int]] = {}
        self._rests_until = 0.0

    def begin(self, subject: Subject) -> None:
        """Say what the run is, send what an earlier driver could not, and find which points it has."""
        self.client.update_run(self.run_id, status="RUNNING")
        params = subject.params()
        for first in range(0, len(params), _PARAMS_A_BATCH):
            self.client.log_batch(self.run_id, params=params[first : first + _PARAMS_A_BATCH])
        self.client.log_inputs(self.run_id, [subject.dataset()])
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

    def report(self, report: StepReport) -> None:
        """Write an interval's metrics in one batch.

        A resumed run walks again over the steps since its snapshot; what was written for them stays.
        """
        new = [name for name in report.metrics if report.step not in self._written.setdefault(name, set())]
        points = [
            {"key": name, "value": report.metrics[name], "timestamp": report.time_ms, "step": report.step}
            for name in new
        ]
        for name in new:
            self._written[name].add(report.step)
        if points:
            content = "".join(f"{json.dumps(point)}\n" for point in points).encode()
            # Two reports may fall on one step: the digest keeps them apart.
            self._send(f"{_POINTS}{report.step:09d}-{hashlib.sha256(content).hexdigest()[:8]}.jsonl", content)

    def picture(self, name: str, png: bytes) -> None:
        """Keep a PNG as `pictures/NAME`."""
        self._send(f"pictures/{name}", png)

    def file(self, path: str, content: bytes) -> None:
        """Keep a file as an artifact: a report in Markdown, a figure, a table."""
        self._send(path, content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close("FINISHED")
        else:
            # Ctrl-C and SystemExit, which a signal's handler raises, are no exceptions of the program.
            self.close("FAILED" if issubclass(kind, Exception) else "KILLED")

    def close(self, status: End) -> None:
        """Write the status. A run that could not be written to the end stays open, and says so."""
        self._rests_until = 0.0  # there is no later interval
        if self._flush() and self._try("the status", lambda: self.client.set_terminated(self.run_id, status)):
            return
        log.error(
            f"MLflow is away: run {self.run_id} stays open, and {len(self._waiting)} entries wait in "
            f"{self._store}/{self._spool}. Start the same run again to write them."
        )

    @property
    def _spool(self) -> str:
        return f"spool/{self.run_id}"

    def _send(self, path: str, content: bytes) -> None:
        """Write an entry after all that wait. What does not get through is spooled at once."""
        self._waiting.append((path, content))
        if self._flush():
            return
        try:
            with suppress(AlreadyThere):
                self._store.put(f"{self._spool}/{path}", content)
            self._spooled.add(path)
        except Refusal as away:
            log.warning("%s waits in memory only: %s", path, away)

    def _flush(self) -> bool:
        """Write what waits, oldest first: whether nothing waits any more."""
        while self._waiting:
            path, content = self._waiting[0]
            if not self._try(path, partial(self._write, path, content)):
                return False
            self._waiting.popleft()
            if path in self._spooled:
                self._spooled.discard(path)
                with suppress(Refusal):  # sent once more when the run goes on, which does no harm
                    self._store.delete(f"{self._spool}/{path}")
        return True

    def _try(self, what: str, write: Callable[[], object]) -> bool:
        began = time.monotonic()
        if began < self._rests_until:
            return False
        try:
            write()
        except AWAY as wrong:
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
