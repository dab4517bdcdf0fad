"""What ends a sweep before its trials do: its budget, or somebody who asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.tune import Stopper

from jointdistill.launch.stop import StopSign
from jointdistill.search.ledger import Ledger
from jointdistill.search.plan import trial_of
from jointdistill.types import Stopped


class Ending(Stopper):  # type: ignore[misc]  # ray is read untyped
    """Asked by Tune, ten times a second, whether the sweep is to end."""

    def __init__(self, gpu_hours: float, ledger: Ledger, sign: StopSign, box: Any) -> None:
        self._gpu_hours, self._ledger, self._sign, self._box = gpu_hours, ledger, sign, box
        self._stopped = Stopped("before every trial could keep a snapshot")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes it down for a `Tuner.restore` that nobody calls."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial ends by itself."""
        return False

    def stop_all(self) -> bool:
        """See `Stopper`. Raises `Stopped` once all who were asked to stop have kept a snapshot; what Tune
        knows as a stop would end trials as if they were done."""
        if self._sign.asked.is_set():
            ray.get(self._box.stop.remote())
            if not self._under_way():
                self._stopped = Stopped("with a snapshot of every trial that was under way")
                raise self._stopped
        return 0 < self._gpu_hours <= sum(course.gpu_hours for course in self._ledger.courses)

    def _under_way(self) -> set[str]:
        """The trials that train."""
        failed = {course.name for course in self._ledger.courses if course.failure}
        return {trial_of(run) for run in ray.get(self._box.training.remote())} - failed

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """What was refused, or stopped, is raised as that, however Tune and Ray wrap it."""
        try:
            yield
        except Exception as wrapped:
            stopped = self._stopped if self._sign.asked.is_set() else None
            raise self._ledger.refused or stopped or wrapped from None
