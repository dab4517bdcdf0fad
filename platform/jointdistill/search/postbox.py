"""Where trials leave what they tell and the driver collects it: one small actor, as workers of a run have.

Like theirs it imports no more than it needs, since the first trials start on the same cores.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jointdistill.launch.mailbox import StopBell
from jointdistill.launch.stop import StopSign
from jointdistill.search.names import trial_of
from jointdistill.search.posts import Begun, Kept, Paused, Posted


class Postbox:
    """An actor: what trials tell, in the order it came, and the other way the word that stops them."""

    def __init__(self) -> None:
        self._posted: list[Posted] = []
        self._training: dict[str, float] = {}
        self._stopping = False

    def put(self, posted: Posted) -> None:
        """Leave a message."""
        if isinstance(posted, Begun):
            self._training[posted.run] = time.monotonic()
        elif isinstance(posted, Paused | Kept):
            self._training.pop(posted.run, None)
        self._posted.append(posted)

    def collect(self) -> list[Posted]:
        """Take what has come since the last time."""
        posted, self._posted = self._posted, []
        return posted

    def training(self) -> dict[str, float]:
        """The runs that have begun a segment and not ended it → the seconds since."""
        return {run: time.monotonic() - began for run, began in self._training.items()}

    def forget(self, trial: str) -> None:
        """A trial does not train any more, though it never said so."""
        self._training = {run: since for run, since in self._training.items() if trial_of(run) != trial}

    def stop(self) -> None:
        """Ask the trials to stop."""
        self._stopping = True

    def stopping(self) -> bool:
        """Whether the trials are asked to stop."""
        return self._stopping


@contextmanager
def postbox() -> Iterator[Any]:
    """One, beside the driver, since on a machine that is taken away nothing would come."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here)(Postbox).remote()
    try:
        yield actor
    finally:
        ray.kill(actor)


class Post:
    """A trial's side of a postbox."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __call__(self, posted: Posted) -> None:
        """Post. It waits at the end of a segment only: then all that was posted before has come, too."""
        there = self._actor.put.remote(posted)
        if isinstance(posted, Paused | Kept):
            ray.get(there)

    @contextmanager
    def listening(self) -> Iterator[StopSign]:
        """A sign that shows when the sweep is to stop."""
        sign = StopSign()
        with StopBell(self._actor, sign.asked):
            yield sign

    def await_end(self, run: str) -> NoReturn:
        """Say that a run has kept its snapshot, and wait for this process to be ended.

        An answer would be taken for one at a rung, and an error for a failure.
        """
        self(Kept(run))
        while True:
            threading.Event().wait()
