"""Where runs are recorded in MLflow. The driver alone writes; workers send it plain numbers and pictures."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar, final

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from jointdistill.engine.lineage import package_digest
from jointdistill.engine.subject import IDENTITY, PACKAGE, Subject
from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.store.base import Store
from jointdistill.store.registry import AWAY, SQLITE, connect, in_words, redacted

log = logging.getLogger(__name__)

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Its pages are then about training, not about language models."""

_ONCE = "jointdistill.once"
"""A tag that one attempt to begin a run has and no other."""
_PASSING = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
"""MLflow's words for what may be otherwise a moment later; no reply at all is an internal error to it."""
_PAUSE_S = 1.0
"""Between two questions to a server that does not answer yet."""
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
        if run is None:
            return None
        if run.data.tags.get(PACKAGE) != package_digest():
            self.patience.say(f"{name} was computed by other code than today's: --fresh runs it again.")
        return TrackedRun(self.client, run.info.run_id, self.store)

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
