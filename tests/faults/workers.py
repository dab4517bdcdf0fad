"""A run under a Ray of its own, and its workers' processes to be hurt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import psutil

from jointdistill.data.sampling import Sampling
from jointdistill.engine import keeper, loop
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch import train as launching
from jointdistill.launch.run import run
from jointdistill.launch.settle import settle
from jointdistill.launch.work import Message, Note, Outcome
from jointdistill.place import Launch
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import StepReport
from tests.engine import small
from tests.faults.oracle import End, end

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 60, 5

worker = launching._worker


def experiment(folder: Path, steps: int = STEPS) -> Experiment:
    """Of so many steps, four to an epoch."""
    return replace(
        small.experiment(folder),
        trajectory=(OwnPast(),),
        optimise=Optimise(steps=steps, learning_rate=5e-3),
        sampling=Sampling(batch=7, labelled=3, labels={"depth": 0.4, "segmentation": 0.4}),
    )


def launch(folder: Path, name: str, workers: int = 2, **knobs: object) -> Launch:
    told = replace(small.launch(folder), workers=workers, snapshot_every=EVERY, run=name)
    return replace(told, **knobs)  # type: ignore[arg-type]


@dataclass
class Watcher:
    """Looks on, and does something once a step is reported."""

    at: dict[int, Callable[[], None]] = field(default_factory=dict)
    """Step → what to do when it, or a later one, is reported; in the order of steps."""
    reports: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)
    """The steps that were gone on from."""
    back: list[int] = field(default_factory=list)
    """How many steps that was back each time, from the last one reported."""

    def __call__(self, message: Message) -> None:
        if isinstance(message, Note):
            self.notes.append(message.text)
            if message.text.startswith("Going on from step"):
                self.resumed.append(int(message.text.split()[4]))
                self.back.append(max(0, max(self.reports, default=0) - self.resumed[-1]))
        if isinstance(message, StepReport):
            self.reports.append(message.step)
            due = min(self.at, default=-1)
            if 0 <= due <= message.step:
                self.at.pop(due)()


@cache
def straight(workers: int, steps: int = STEPS) -> End:
    """How a run ends that nobody hurts; computed once, whoever asks."""
    with TemporaryDirectory(prefix="jd-straight-") as name:
        told = launch(Path(name), "straight", workers)
        run(experiment(Path(name), steps), told, lambda message: None)
        return ended(Path(name), told, steps)


def train(folder: Path, told: Launch, watcher: Watcher, steps: int = STEPS) -> Outcome:
    """Run, slowly enough to be hurt in the middle."""
    with patch.object(launching, "_worker", slow_worker), slowly() if not told.workers else nullcontext():
        return run(experiment(folder, steps), told, watcher)


def slow_worker(config: dict[str, Any]) -> object:
    """A worker that is slow."""
    with slowly():
        return worker(config)


@contextmanager
def slowly() -> Iterator[None]:
    """Each step takes 0.15 s longer."""
    step = loop.train_step

    def slow(batch: Any, parts: Any) -> Any:
        time.sleep(0.15)
        return step(batch, parts)

    # Warnings are asked for more often than in earnest, so that a test need not last minutes.
    with patch.object(loop, "train_step", slow), patch.object(keeper, "WARNED_EVERY_S", 1.0):
        yield


def ended(folder: Path, told: Launch, steps: int = STEPS) -> End:
    return end(settle(experiment(folder, steps), told).work)


def workers(of: int | None = None) -> Iterator[psutil.Process]:
    """The Ray Train workers below a process."""
    for process in psutil.Process(of or os.getpid()).children(recursive=True):
        try:
            if "RayTrainWorker" in " ".join(process.cmdline()):
                yield process
        except psutil.Error:
            continue


def kill_one(number: int) -> None:
    """kill -9 of one of this process's workers."""
    alive = sorted(workers(), key=lambda process: process.pid)
    if alive:
        alive[number % len(alive)].send_signal(signal.SIGKILL)


@contextmanager
def driver(folder: Path, workers: int, name: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A driver in a process of its own, once its training is under way."""
    small.experiment(folder)
    command = [sys.executable, "-m", "tests.faults.driver", str(folder), str(workers), name, *words]
    environment = os.environ | {"PYTHONPATH": f"platform{os.pathsep}.", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "training":
                break
        yield process
    finally:
        process.kill()
        process.communicate()
