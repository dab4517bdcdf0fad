"""What "nothing lost" means: an interrupted run ends as a straight one, to the bit.

Compared are the student, the optimiser and every other state in the last snapshot, the whole series of
metrics (one row a step; with the weights that teachers got among them), and where the sampler stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import torch

from jointdistill.data.sampling import Sampling
from jointdistill.engine.keeper import Ears
from jointdistill.engine.loop import Loop
from jointdistill.engine.snapshot import Snapshots
from jointdistill.engine.state import pack
from jointdistill.experiment import Optimise
from jointdistill.launch import worker
from jointdistill.launch.work import Message, Outcome, Work
from jointdistill.launch.worker import live
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.store.sealed import sha256
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import Batch, StepReport
from tests.engine import small

CLOCK = ("images_per_s", "teacher_s")
"""Metrics that depend on the machine's mood."""
EVERY = 3
"""Steps between two snapshots."""

Series = dict[tuple[int, str], float]


class Killed(BaseException):
    """As if by kill -9: nothing that the process meant to do is done any more."""


def work(folder: Path, **changes: object) -> Work:
    """A run of 12 steps in two epochs and a half, with two teachers, the controller and a trajectory."""
    knobs: dict[str, object] = {
        "trajectory": (OwnPast(),),
        "optimise": Optimise(steps=12, learning_rate=5e-3, ema=0.9),
        "sampling": Sampling(batch=5, labelled=3, labels={"depth": 0.4, "segmentation": 0.4}),
    }
    found = small.work(folder, **(knobs | changes))
    return replace(found, launch=replace(found.launch, snapshot_every=EVERY, report_every=10))


@dataclass(frozen=True, eq=False)
class End:
    """How a run ended."""

    student: str
    """Digest of the exported weights."""
    state: dict[str, str]
    """Part of the last snapshot → its digest."""
    series: Series
    rows: list[tuple[int, str]]
    """Every row of the series as it was kept, so that a duplicate shows."""
    positions: dict[int, object]
    """Step of a kept snapshot → where the sampler stood."""
    seen: dict[int, tuple[str, ...]] = field(default_factory=dict, compare=False)
    """Step → the images of its batch."""

    def differences(self, other: End) -> list[str]:
        """In what two ends differ."""
        different = [] if self.student == other.student else ["student"]
        different += [
            f"state {part}"
            for part in self.state.keys() | other.state.keys()
            if self.state.get(part) != other.state.get(part)
        ]
        different += [
            f"series {point}"
            for point in sorted(self.series.keys() | other.series.keys())
            if self.series.get(point) != other.series.get(point)
        ]
        doubled = [row for row in set(other.rows) if other.rows.count(row) > 1]
        different += [f"row {row} {other.rows.count(row)} times" for row in sorted(doubled)]
        both = self.positions.keys() & other.positions.keys()
        different += [f"position {step}" for step in both if self.positions[step] != other.positions[step]]
        return different


def end(work: Work, seen: dict[int, tuple[str, ...]] | None = None) -> End:
    """How a finished run ended, from what lies on its storage."""
    store = open_store(work.storage)
    snapshots = Snapshots(store, work.run)
    latest = snapshots.latest()
    assert latest is not None
    steps = work.experiment.optimise.steps
    assert latest.step == steps
    reports = snapshots.reports(until=steps)
    rows = [(report.step, name) for report in reports for name in report.metrics if name not in CLOCK]
    series = {
        (report.step, name): value
        for report in reports
        for name, value in report.metrics.items()
        if name not in CLOCK
    }
    return End(
        sha256(store.get(f"runs/{work.run}/model/weights.safetensors")),
        {part: sha256(pack(state)) for part, state in latest.parts.items()},
        series,
        rows,
        {manifest.step: manifest.about["position"] for manifest in snapshots.manifests()},
        seen or {},
    )


def straight(work: Work) -> End:
    """The same run, never interrupted."""
    torch.set_num_threads(1)
    told = replace(work, run="straight")
    with watching() as seen:
        assert isinstance(live(told, lambda message: None), Outcome)
    return end(told, seen)


@contextmanager
def watching() -> Iterator[dict[int, tuple[str, ...]]]:
    """Step → the images that were trained on."""
    seen: dict[int, tuple[str, ...]] = {}
    from jointdistill.engine import loop

    step = loop.train_step

    def noted(batch: Batch, parts):  # type: ignore[no-untyped-def]
        seen[batch.position.step] = batch.keys
        return step(batch, parts)

    with patch.object(loop, "train_step", noted):
        yield seen


@dataclass
class Attempts:
    """Starts a run again and again until it is finished, and counts what was computed twice."""

    work: Work
    steps: list[int] = field(default_factory=list)
    """Every step that was done, in order."""
    notes: list[str] = field(default_factory=list)

    def go(self, alive: Callable[[int], object] = lambda step: None, store: Store | None = None) -> bool:
        """One attempt: whether it came to the end."""

        def heard(step: int) -> None:
            self.steps.append(step)
            if getattr(store, "dead", False):  # it died in the writer's thread, and we with it
                raise Killed
            alive(step)

        def hear(message: Message) -> None:
            if not isinstance(message, StepReport) and hasattr(message, "text"):
                self.notes.append(message.text)

        opened = store or open_store(self.work.storage)
        with patch.object(worker, "open_store", lambda uri: opened), suppress(Killed):
            return isinstance(live(self.work, hear, Ears(alive=heard)), Outcome)
        return False

    @property
    def recomputed(self) -> int:
        """Steps that were done more than once."""
        return len(self.steps) - len(set(self.steps))


def die_at(step: int) -> Callable[[int], None]:
    """For `Ears.alive`: die once this step is done."""

    def alive(now: int) -> None:
        if now == step:
            raise Killed

    return alive


def loop_of(work: Work) -> Loop:
    """A run's loop, to look at."""
    return worker.build(work, worker.Ranks(torch.device("cpu")), lambda message: None)
