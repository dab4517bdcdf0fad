"""SIGTERM: what `ray job stop`, a scheduler or a spot machine says before it ends a process."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from jointdistill.types import Stopped


class StopSign:
    """Takes SIGTERM for as long as its block lasts.

    While somebody trains, the first one asks the training to stop, which takes a snapshot first; a second
    one, or one at another time, ends the block at once with `Stopped`.

    Within the block that is a KeyboardInterrupt: Ray, while it waits, passes on nothing else that a signal
    raises.
    """

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.entered = False
        self._heard = self._insisted = self._ended = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Within the block somebody looks at `asked`."""
        self._heard = True
        try:
            yield
        finally:
            self._heard = False

    def insist(self) -> None:
        """From another thread: end the block at once, since nobody is there who could keep a snapshot."""
        self._insisted = True
        _thread.interrupt_main(signal.SIGTERM)

    def __enter__(self) -> Self:
        self._before, self.entered = _handle(self._take), True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _handle(self._before)
        self.entered = False
        if self._ended and kind is KeyboardInterrupt:
            raise Stopped("before it could keep a snapshot") from None

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._insisted or self.asked.is_set() or not self._heard:
            self._ended = True
            raise KeyboardInterrupt
        self.asked.set()


def _handle(handler: object) -> object:
    """Set the handler; only the main thread may, and elsewhere nobody signals us."""
    if threading.current_thread() is threading.main_thread():
        return signal.signal(signal.SIGTERM, handler)  # type: ignore[arg-type]
    return None
