"""What of Ray Train is ours: a trainer that starts no more than it needs, and who tells of losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ray.exceptions import RayActorError
from ray.train import UserCallback
from ray.train.torch import TorchTrainer

LONGEST = 300
"""Characters of an exception that are passed on."""


class Trainer(TorchTrainer):  # type: ignore[misc]  # ray is read untyped
    """A `TorchTrainer` that is given no data set.

    Ray starts a process to look after them nevertheless, anew with each group of workers: 1.6 to 2 s of a
    core, just when the workers need it for their own start.
    """

    def _create_default_callbacks(self) -> list[Any]:
        """Ray's, less that one. It is no public method: were it called otherwise, a start would be slower."""
        return [
            callback
            for callback in super()._create_default_callbacks()
            if type(callback).__name__ != "DatasetsCallback"
        ]


class Losses(UserCallback):  # type: ignore[misc]  # ray is read untyped
    """In Ray's controller: tells the mailbox which workers were lost."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox
        self._known: set[str] = set()

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, BaseException]) -> None:
        """See `UserCallback`."""
        # What Ray Train's health check found is wrapped once more.
        found = {rank: getattr(one, "health_check_failure", one) for rank, one in worker_exceptions.items()}
        dead = {rank: one for rank, one in found.items() if isinstance(one, RayActorError)}
        # While a preemption lasts, Ray tells the same death several times a second.
        told = {one.actor_id for one in dead.values()}
        if told and told <= self._known:
            return
        self._known |= told - {None}
        preempted = any(one.preempted for one in dead.values())
        self._mailbox.lost.remote(sorted(dead), preempted, _said(found.values()))


def _said(exceptions: Iterable[BaseException]) -> str:
    """The last line of what a worker raised; of one that died nobody knows more than that."""
    told = [str(one).strip().splitlines() for one in exceptions if not isinstance(one, RayActorError)]
    return next((lines[-1][:LONGEST] for lines in told if lines), "")
