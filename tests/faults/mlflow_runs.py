"""A run that MLflow's own server hears of: a server that stops and starts, a watcher, what was recorded."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient

from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.work import Message, Note
from jointdistill.place import Launch
from jointdistill.types import StepReport
from tests.engine import small
from tests.engine.server import free_port, served
from tests.engine.tracked import track
from tests.faults.oracle import CLOCK

STEPS = 120
MOODS = (*CLOCK, "inference_images_per_s")
"""Metrics that depend on the machine's mood."""


class Point(NamedTuple):
    step: int
    value: float
    time_ms: int


class Server:
    """MLflow on a port and a database of its own, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        track(folder)  # its database, made beforehand
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._up = ExitStack()

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port),
            "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination", str(self.folder / "served"),
        ]  # fmt: skip
        self._up.enter_context(served(command, f"{self.address}/health", self.address, self.folder))

    def stop(self) -> None:
        self._up.close()


@dataclass
class Watcher:
    """Slows training down, so that an outage is long for it, and notes when it heard of it."""

    then: Callable[[int], None] = lambda step: None
    pause_s: float = 0.0
    heard: list[StepReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    _last: float = 0.0

    def __call__(self, message: Message) -> None:
        if isinstance(message, Note):
            self.notes.append(message.text)
        if not isinstance(message, StepReport):
            return
        now = time.monotonic()
        if self.heard:
            self.longest_s = max(self.longest_s, now - self._last)
        self.heard.append(message)
        if "learning_rate" in message.metrics:
            self.then(message.step)
            time.sleep(self.pause_s)
        self._last = time.monotonic()  # what this watcher waits is not MLflow's


def experiment(folder: Path) -> Experiment:
    return replace(small.experiment(folder), optimise=Optimise(steps=STEPS, learning_rate=5e-3))


def launch(folder: Path, address: str, name: str) -> Launch:
    return replace(small.launch(folder), tracking=address, run=name, snapshot_every=50)


@dataclass(frozen=True)
class Record:
    """What MLflow has of the only run in its experiment."""

    status: str
    points: dict[str, list[Point]]
    """Each series, every point as it was written."""
    pictures: list[str]

    @classmethod
    def at(cls, address: str) -> Record:
        client = MlflowClient(tracking_uri=address)
        (found,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
        run_id = found.info.run_id
        points = {
            name: [Point(p.step, p.value, p.timestamp) for p in client.get_metric_history(run_id, name)]
            for name in found.data.metrics
        }
        pictures = [file.path for file in client.list_artifacts(run_id, "pictures")]
        return cls(found.info.status, points, pictures)

    @property
    def series(self) -> dict[str, list[tuple[int, float]]]:
        """Without what depends on the machine, and without the time."""
        return {
            name: [point[:2] for point in points] for name, points in self.points.items() if name not in MOODS
        }
