"""A driver to be hurt: `python -m tests.faults.driver FOLDER WORKERS NAME [--elsewhere]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

from jointdistill.engine import claims
from jointdistill.engine.claims import Hold
from jointdistill.launch import run as running
from jointdistill.launch.command import carry_out
from tests.faults.workers import EVERY, Watcher, launch, train


def main(arguments: Sequence[str]) -> None:
    """Run, and say so once training is under way."""
    folder, workers, name = Path(arguments[0]), int(arguments[1]), arguments[2]
    watcher = Watcher({12: lambda: print("training", flush=True)})
    told = launch(folder, name, workers, snapshot_every=1000)
    if "--elsewhere" not in arguments:
        train(folder, told, watcher)
        return
    # As on another machine, where nobody can tell by its process whether it is alive; and quick to say so.
    beating = partial(Hold, beat_s=0.5)
    with patch.object(claims, "_machine", lambda: "elsewhere"), patch.object(running, "Hold", beating):
        train(folder, replace(told, snapshot_every=EVERY), watcher)


if __name__ == "__main__":
    carry_out(main)
