"""What the Ray Train workers of restart.py do.

At its top this imports nothing of ours, since Ray imports it before it calls: what that takes is measured.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from diary import Diary

END = "end"
STAGES = ("entered", "building", "built", "resumed", "step")
"""What a real worker tells on its way to the first step."""


def stand_by(config: dict[str, Any]) -> None:
    """Import torch, say that a function runs, and wait for the end."""
    import torch
    from ray.train import get_context

    diary = Diary(Path(config["diary"]))
    diary.write(get_context().get_world_rank(), "running", torch.get_num_threads())
    while not (diary.folder / END).exists():
        time.sleep(0.02)


def imported() -> None:
    """Import what a real worker imports, as it does."""
    from jointdistill.launch.warm import warm

    warm("jointdistill.launch.worker")


def keep_diary(folder: str, config: dict[str, Any]) -> Any:
    """The real worker, which tells where it stands."""
    from ray.train import get_context

    diary, rank = Diary(Path(folder)), get_context().get_world_rank()
    diary.write(rank, "entered")
    imported()
    from jointdistill.launch import train, worker

    build = worker.build

    def built(*arguments: Any) -> Any:
        diary.write(rank, "building")
        loop = build(*arguments)
        diary.write(rank, "built")
        resume, alive = loop.resume, loop.outside.ears.alive

        def resumed() -> bool:
            found = resume()
            diary.write(rank, "resumed")
            return found

        def stepped(step: int) -> None:
            alive(step)
            diary.write(rank, "step", step)

        loop.resume = resumed  # type: ignore[method-assign]
        loop.outside = replace(loop.outside, ears=replace(loop.outside.ears, alive=stepped))
        return loop

    with patch.object(worker, "build", built):
        return train._worker(config)


def tell_steps(folder: str, run: str, config: dict[str, Any]) -> Any:
    """The real worker, whose steps are told under the run's name."""
    from ray.train import get_context

    imported()
    from jointdistill.engine.keeper import Ears
    from jointdistill.launch import train, worker

    diary, rank, live = Diary(Path(folder)), get_context().get_world_rank(), worker.live

    def heard(work: Any, send: Any, ears: Ears) -> Any:
        def alive(step: int) -> None:
            ears.alive(step)
            diary.write(rank, f"step {run}", step)

        return live(work, send, replace(ears, alive=alive))

    with patch.object(worker, "live", heard):
        return train._worker(config)
