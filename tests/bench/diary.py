"""What processes say and when, by the machine's one clock: files, because Ray's workers share nothing else.

It needs nothing but the standard library, so that whoever writes waits for no import.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 180
"""Who waits so long for a line gives up."""


class Line(NamedTuple):
    """Something that was said."""

    at: float
    pid: int
    rank: int
    what: str
    number: int
    processor: float
    """Seconds of processor time that the process has used since it was born."""


@dataclass(frozen=True)
class Diary:
    """A folder with a file for every process."""

    folder: Path

    def write(self, rank: int, what: str, number: int = 0) -> None:
        """Say something, now."""
        line = json.dumps([time.monotonic(), os.getpid(), rank, what, number, time.process_time()])
        with (self.folder / f"{os.getpid()}.jsonl").open("a") as mine:
            mine.write(f"{line}\n")

    def lines(self) -> list[Line]:
        """All that was said, in order; a line that is being written is left for the next time."""
        return sorted(Line(*json.loads(line)) for line in self._whole())

    def first(self, what: str, fits: Callable[[Line], bool]) -> Line:
        """The first line that says this and fits, once there is one."""
        latest = time.monotonic() + PATIENCE_S
        while True:
            for line in self.lines():
                if line.what == what and fits(line):
                    return line
            if time.monotonic() > latest:
                raise TimeoutError(f"nobody said {what}")
            time.sleep(0.01)

    def _whole(self) -> Iterator[str]:
        for file in self.folder.glob("*.jsonl"):
            yield from (line for line in file.read_text().splitlines(keepends=True) if line.endswith("\n"))
