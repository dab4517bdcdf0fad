"""Processes that take turns at being measured: who is due is called out, and times are handed in."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 240
"""Who waits so long for the others gives up."""


class Took(NamedTuple):
    """Seconds of a block."""

    wall: float
    processor: float

    @classmethod
    def now(cls) -> Took:
        """Both clocks."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, began: Took) -> Took:
        """What passed."""
        return Took(self.wall - began.wall, self.processor - began.processor)


@dataclass(frozen=True)
class Desk:
    """Where turns are called out and times handed in: files, because Ray's workers share nothing else."""

    folder: Path

    def call(self, turn: str) -> None:
        """Let those go on who wait for this turn."""
        (self.folder / turn).touch()

    def wait(self, turn: str) -> None:
        """Until the turn is called."""
        self._wait_for([self.folder / turn])

    def hand_in(self, turn: str, who: str, took: Took) -> None:
        """How long somebody took."""
        part = self.folder / f"{turn}.{who}.part"
        part.write_text(json.dumps(took))
        part.rename(part.with_suffix(".took"))

    def collect(self, turn: str, who: tuple[str, ...]) -> list[Took]:
        """What all of them handed in, once they have."""
        files = [self.folder / f"{turn}.{name}.took" for name in who]
        self._wait_for(files)
        return [Took(*json.loads(file.read_text())) for file in files]

    def _wait_for(self, files: list[Path]) -> None:
        latest = time.monotonic() + PATIENCE_S
        while not all(file.exists() for file in files):
            if time.monotonic() > latest:
                raise TimeoutError(f"nobody wrote {files[0].name}")
            time.sleep(0.005)
