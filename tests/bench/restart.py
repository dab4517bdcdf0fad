"""From the death of a worker to the next step, beside what Ray itself takes for that; see snapshot.py."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import demo_sized
import psutil
import spread
from bystander import END, STAGES, keep_diary, stand_by
from diary import Diary

from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch import train
from jointdistill.launch.cluster import connected
from jointdistill.launch.run import run

WORKERS = 2
EVERY, KILLED_AFTER, STEPS = 5, 12, 30
"""Steps between snapshots, before the kill, and in all: there is a snapshot, and the run ends soon after."""


class Restart(NamedTuple):
    """What a restart took."""

    took: float
    """Seconds from the kill on."""
    processor: float
    """Seconds of processor time of a new worker and, from the kill on, of Ray's controller."""


def measure(experiment: Experiment, folder: Path, kills: int) -> dict[str, Any]:
    """Kill workers of real runs and of bystanders in turns: seconds from the kill on, with their spread."""
    ours: list[Restart] = []
    rays: list[Restart] = []
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    with connected(WORKERS, "cpu"):
        for number in range(kills):
            rays.append(restart_of_bystanders(diary_in(folder, f"bystanders-{number}"), number % WORKERS))
            diary = diary_in(folder, f"killed-{number}")
            reached = restart_of_a_run(experiment, folder, diary, number % WORKERS)
            ours.append(reached["step"])
            for before, stage in pairwise(("", *STAGES)):
                stages[stage].append(reached[stage].took - (reached[before].took if before else 0.0))
            print(f"kill {number}: ray {rays[-1]}, ours {ours[-1]}", file=sys.stderr, flush=True)
    pairs = [*zip(ours, rays, strict=True)]
    extra = [mine.took - theirs.took for mine, theirs in pairs]
    by_processor = [mine.processor - theirs.processor for mine, theirs in pairs]
    return {
        "restart_s": spread.median([one.took for one in ours]),
        "restart_s_all": [round(one.took, 2) for one in ours],
        "restart_ray_s": spread.median([one.took for one in rays]),
        "restart_ray_s_all": [round(one.took, 2) for one in rays],
        "restart_extra_s": spread.median(extra),
        "restart_extra_s_ci": spread.interval(extra),
        "restart_extra_processor_s": spread.median(by_processor),
        "restart_extra_processor_s_ci": spread.interval(by_processor),
        "restart_stages_s": {stage: spread.median(took) for stage, took in stages.items()},
    }


def diary_in(folder: Path, name: str) -> Diary:
    """A new diary."""
    diary = Diary(folder / "diaries" / name)
    diary.folder.mkdir(parents=True)
    return diary


def restart_of_a_run(experiment: Experiment, folder: Path, diary: Diary, rank: int) -> dict[str, Restart]:
    """Stage → what it took to get there after a worker of a real run was killed."""
    mine = replace(experiment, name=diary.folder.name, optimise=Optimise(steps=STEPS))
    launch = replace(
        demo_sized.launch(folder, WORKERS), run=diary.folder.name, snapshot_every=EVERY, report_every=5
    )
    found: dict[str, Restart] = {}

    def strike() -> None:
        victim = diary.first("step", lambda line: line.rank == rank and line.number >= KILLED_AFTER)
        before_s = of_controller()
        killed = kill(victim.pid)
        before = {line.pid for line in diary.lines()}
        for stage in STAGES:
            line = diary.first(stage, lambda line: line.pid not in before)
            if stage == STAGES[0]:
                controller = of_controller() - before_s
            found[stage] = Restart(line.at - killed, line.processor + controller)

    told = partial(keep_diary, str(diary.folder))
    with patch.object(train, "_worker", told), meanwhile(strike):
        run(mine, launch, lambda message: None)
    return found


def restart_of_bystanders(diary: Diary, rank: int) -> Restart:
    """From the death of a worker that does nothing to a function that runs in its successor."""
    found: list[Restart] = []

    def strike() -> None:
        victim = diary.first("running", lambda line: line.rank == rank)
        diary.first("running", lambda line: line.rank != rank)
        time.sleep(1)
        before_s = of_controller()
        killed = kill(victim.pid)
        line = diary.first("running", lambda line: line.at > killed)
        found.append(Restart(line.at - killed, line.processor + of_controller() - before_s))
        (diary.folder / END).touch()

    with meanwhile(strike):
        stand_by_until_done(diary)
    return found[0]


def stand_by_until_done(diary: Diary) -> None:
    """As the platform starts its workers, and lets Ray start them again when one is lost."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    with tempfile.TemporaryDirectory(prefix="jd-train-") as scratch, train.interruptible():
        TorchTrainer(
            stand_by,
            train_loop_config={"diary": str(diary.folder)},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ScalingConfig(num_workers=WORKERS),
            run_config=RunConfig(storage_path=scratch, failure_config=FailureConfig(max_failures=-1)),
        ).fit()


def of_controller() -> float:
    """Processor time of Ray's controller, which starts the workers and lives as long as they do."""
    times = [
        process.cpu_times()
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("ray::TrainContr")
    ]
    return max((one.user + one.system for one in times), default=0.0)


def kill(pid: int) -> float:
    """Kill a worker that told its own process id; gives the time of its death."""
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


@contextmanager
def meanwhile(do: Callable[[], None]) -> Iterator[None]:
    """Do something while the block runs; what it raises is raised at the end."""
    failed: list[BaseException] = []

    def caught() -> None:
        try:
            do()
        except BaseException as wrong:
            failed.append(wrong)

    thread = threading.Thread(target=caught, daemon=True)
    thread.start()
    yield
    thread.join()
    if failed:
        raise failed[0]
