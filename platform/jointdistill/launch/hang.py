"""Notices a worker that makes no more steps, says where it stands, and ends it."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Self

_WAITING = (
    "torch/distributed/",
    "torch/autograd/graph.py",
    "torch/nn/parallel/",
    "engine/ranks.py",
    "engine/window.py",
)
"""Where a rank stands that waits for the others: in a collective, or in a backward pass that ends in one."""


class HangWatch:
    """Watches a rank's training thread for as long as the block lasts.

    A rank that hangs holds up all others, and all stop at the same time. So a rank that stands in a
    collective gives the culprit time to be noticed first.
    """

    def __init__(
        self, rank: int, after_s: float, say: Callable[[str], None], end: Callable[[], None]
    ) -> None:
        self._rank, self._after_s, self._say, self._end = rank, after_s, say, end
        self._step, self._last = 0, 0.0
        self._thread_id = threading.get_ident()
        self._ended = threading.Event()

    def alive(self, step: int, last: int) -> None:
        """A step was done; after the last one nobody knows what is long."""
        self._step, self._last = step, time.monotonic() if step < last else 0.0

    def busy(self) -> None:
        """No step was done, but something that takes long goes on: an image was looked at."""
        if self._last:
            self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self._after_s:
            threading.Thread(target=self._watch, name="hang-watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._after_s / 10)):
            silent_s = time.monotonic() - self._last
            if not self._last or silent_s < self._after_s:  # before the first step nobody knows what is long
                continue
            stack = traceback.extract_stack(sys._current_frames()[self._thread_id])
            waits = any(place in frame.filename for frame in stack for place in _WAITING)
            if waits and silent_s < 2 * self._after_s:
                continue
            try:
                self._say(self._sentence(silent_s, waits, stack))
            finally:
                self._end()
            return

    def _sentence(self, silent_s: float, waits: bool, stack: traceback.StackSummary) -> str:
        what = "waits for the other ranks" if waits else "hangs"
        where = "".join(stack.format()[-6:])
        return (
            f"Rank {self._rank} {what}: no step since step {self._step}, {silent_s:.0f} s ago. It stands at\n"
            f"{where}"
        )
