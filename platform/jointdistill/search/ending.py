"""What ends a sweep before its trials do: its budget, or somebody who asks for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.tune import Callback, Stopper

from jointdistill.launch.stop import StopSign
from jointdistill.search.ledger import Ledger
from jointdistill.search.names import trial_of
from jointdistill.search.sweep import Sweep
from jointdistill.types import Stopped


class Ending(Stopper, Callback):  # type: ignore[misc]  # ray is read untyped
    """Asked by Tune, ten times a second, whether the sweep is to end; told by it which trials train."""

    def __init__(self, sweep: Sweep, gpus: float, ledger: Ledger, sign: StopSign, box: Any) -> None:
        """`gpus` are those of one trial."""
        self._sweep, self._gpus, self._ledger, self._sign, self._box = sweep, gpus, ledger, sign, box
        self._began, self._spent = time.monotonic(), False
        self._stopped = Stopped("before every trial could keep a snapshot")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes it down for a `Tuner.restore` that nobody calls."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial ends by itself."""
        return False

    def stop_all(self) -> bool:
        """See `Stopper`. All who train are asked to keep a snapshot first: Tune kills them ten seconds later.

        Raises `Stopped` where somebody asked for it; what Tune knows as a stop would end the sweep as if it
        were done.
        """
        self._spent = self._spent or self._over_budget()
        if not self._spent and not self._sign.asked.is_set():
            return False
        ray.get(self._box.stop.remote())
        if self._under_way():
            return False
        if self._sign.asked.is_set():
            self._stopped = Stopped("with a snapshot of every trial that was under way")
            raise self._stopped
        return True

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `Callback`: its process was lost, and it goes to the end of the queue, where nobody waits for
        its snapshot and it costs nothing."""
        ray.get(self._box.forget.remote(str(trial)))

    def _over_budget(self) -> bool:
        """Whether the hours are used up, what is under way among them."""
        hours, gpu_hours = self._sweep.hours, self._sweep.gpu_hours
        if 0 < hours <= (time.monotonic() - self._began) / 3600:
            return True
        if not gpu_hours or not self._gpus:
            return False
        seconds = sum(self._under_way().values()) + self._ledger.seconds_unended
        ended = sum(course.gpu_hours for course in self._ledger.courses)
        return gpu_hours <= ended + seconds * self._gpus / 3600

    def _under_way(self) -> dict[str, float]:
        """The trials that train → the seconds since they began to."""
        failed = {course.name for course in self._ledger.courses if course.failure}
        training = ray.get(self._box.training.remote())
        found = {trial_of(run): seconds for run, seconds in training.items()}
        return {trial: seconds for trial, seconds in found.items() if trial not in failed}

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """What was refused, or stopped, is raised as that, however Tune and Ray wrap it."""
        try:
            yield
        except Exception as wrapped:
            stopped = self._stopped if self._sign.asked.is_set() else None
            raise self._ledger.refused or stopped or wrapped from None
