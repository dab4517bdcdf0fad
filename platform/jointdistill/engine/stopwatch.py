"""How long a device is busy with something, without waiting for it at every step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up the time of its blocks until it is read. On CUDA that is the stream's time, not the host's."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The block is timed."""
        if self._device.type == "cuda":
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            began.record()
            yield
            ended.record()
            self._events.append((began, ended))
            return
        begin = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - begin

    def read(self) -> float:
        """Seconds since the last call. It waits for the device where that is still busy."""
        seconds, self._seconds = self._seconds, 0.0
        events, self._events = self._events, []
        for began, ended in events:
            ended.synchronize()
            seconds += began.elapsed_time(ended) / 1000
        return seconds
