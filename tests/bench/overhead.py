"""What the platform costs: its whole job beside a plain PyTorch loop, and what parts of a step take of it.

    python tests/bench/overhead.py --pairs 30
    python tests/bench/overhead.py --pairs 30 --device cuda --size 256 512 --channels 48

The job is the real one: a Ray Train worker, its mailbox, MLflow in the driver, reports and snapshots. In the
worker's process a plain loop (plain_loop.py) takes turns with it, block by block and on the same batches,
so that whatever else the machine does falls on both. One thread each. On a CUDA device a block ends when
that has finished, and only the job is compared. The last line is JSON:

    ratio             samples a second of the job over those of the plain loop: the median over pairs of
                      blocks, with a bootstrap interval of 95 %
    ratio_of_sums     the same over all blocks at once, so with the rare snapshot and end of epoch
    ratio_processor   as ratio, by processor time: neighbours on the machine hardly touch it
    controller_share  of a step: weighing, and deciding on weights
    own_past_share, teacher_way_share   of a step without the source; merges included

Shares are of the training thread's processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import demo_sized
import spread
import torch
from plain_loop import PlainLoop

from jointdistill.engine.keeper import Ears
from jointdistill.engine.loop import Loop
from jointdistill.engine.objective import ask
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.remember import Replay
from jointdistill.engine.step import train_step
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch import train, worker
from jointdistill.launch.run import run
from jointdistill.launch.settle import settle
from jointdistill.launch.work import Message, Outcome, Work
from jointdistill.nets.way import Moment
from jointdistill.place import Launch
from jointdistill.teachers.base import Teacher
from jointdistill.trajectory.base import TrajectoryRecipe
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.trajectory.record import Anchor
from jointdistill.trajectory.teacher_way import TeacherWay
from jointdistill.types import Batch

BLOCK = 10
"""Steps a turn."""
WARM_UP = 2
"""Pairs of blocks that do not count."""
ANCHOR = Replay._anchor
"""As it is where nobody measures."""


class Clock:
    """Seconds spent within its blocks."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now, self.seconds = now, 0.0

    def __enter__(self) -> Clock:
        self._began = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds += self._now() - self._began

    def timing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its calls timed."""

        def timed(*arguments: Any) -> Any:
            with self:
                return function(*arguments)

        return timed


# -- in the Ray worker -----------------------------------------------------------------------------------


def beside_a_plain_loop(config: dict[str, Any]) -> Outcome | str | None:
    """The real worker, but a plain loop takes turns with its job."""
    build = worker.build

    def with_turns(work: Work, ranks: Ranks, say: Callable[[Message], None], ears: Ears) -> Loop:
        loop = build(work, ranks, say, ears)
        Turns(loop, Path(work.storage) / "turns.json").begin()
        return loop

    with patch.object(worker, "build", with_turns):
        return train._worker(config)


class Turns:
    """Hands a job its batches, and between two blocks of them lets the plain loop have the same."""

    def __init__(self, job: Loop, report: Path) -> None:
        self.job, self.plain, self.report = job, PlainLoop(job), report
        self.stream = job.loader.stream
        self.controller = Clock(time.thread_time)
        self.device = job.parts.ranks.device
        self.pairs: list[dict[str, float]] = []

    def begin(self) -> None:
        """From now on the job's loader takes turns."""
        refuse_another_task(self.job, self.plain)
        self.job.loader.stream = self.batches  # type: ignore[method-assign]
        weighting = self.job.parts.weighting
        for part in ("weigh", "after_step", "observe"):
            setattr(weighting, part, self.controller.timing(getattr(weighting, part)))

    def batches(self, start: int, stop: int, *, pin: bool = False) -> Iterator[Batch]:
        """The job's batches; it is at work while this generator waits to be asked for more."""
        for first in range(start, stop, BLOCK):
            last = min(stop, first + BLOCK)
            with Clock(time.perf_counter) as job, Clock(time.process_time) as job_cpu:
                thread, controller = time.thread_time(), self.controller.seconds
                yield from self.stream(first, last, pin=pin)
                demo_sized.finish(self.device)
                thread, controller = time.thread_time() - thread, self.controller.seconds - controller
            same = [self.job.loader.batch(step) for step in range(first, last)]
            with Clock(time.perf_counter) as plain, Clock(time.process_time) as plain_cpu:
                self.plain.train(same)
                demo_sized.finish(self.device)
            self.pairs.append(
                {
                    "job": job.seconds,
                    "plain": plain.seconds,
                    "job_cpu": job_cpu.seconds,
                    "plain_cpu": plain_cpu.seconds,
                    "controller": controller / thread,
                }
            )
        self.report.write_text(json.dumps(self.pairs[WARM_UP:]))


@torch.no_grad()
def refuse_another_task(job: Loop, plain: PlainLoop) -> None:
    """Both must compute the same losses, or there is nothing to compare."""
    batch = job.loader.batch(0)
    here = batch.to(plain.device)
    seen = job.parts.augment(here, job.parts.tasks)
    theirs = job.parts.objective(job.parts.student(seen.image), ask(job.parts.teachers, seen), seen).mean()
    ours = plain.losses(plain.augment(plain.read(batch), batch), batch)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


# -- in the driver ---------------------------------------------------------------------------------------


def compare(experiment: Experiment, launch: Launch, pairs: int) -> dict[str, Any]:
    """Run the job with its turns: what the pairs of blocks say."""
    steps = BLOCK * (pairs + WARM_UP)
    with patch.object(train, "_worker", beside_a_plain_loop):
        run(replace(experiment, optimise=Optimise(steps=steps)), launch, say)
    took = json.loads(Path(launch.storage, "turns.json").read_text())
    ratios = [pair["plain"] / pair["job"] for pair in took]
    by_processor = [pair["plain_cpu"] / pair["job_cpu"] for pair in took]
    controller = [pair["controller"] for pair in took]
    images = BLOCK * experiment.sampling.batch
    return {
        "ratio": spread.median(ratios),
        "ratio_ci": spread.interval(ratios),
        "ratio_of_sums": round(sum(pair["plain"] for pair in took) / sum(pair["job"] for pair in took), 4),
        "ratio_processor": spread.median(by_processor),
        "ratio_processor_ci": spread.interval(by_processor),
        "job_images_per_s": round(images / median(pair["job"] for pair in took), 1),
        "plain_images_per_s": round(images / median(pair["plain"] for pair in took), 1),
        "controller_share": round(sum(controller) / len(controller), 5),
        "pairs": len(took),
        "steps_a_block": BLOCK,
    }


def share_of(recipe: TrajectoryRecipe, experiment: Experiment, launch: Launch, pairs: int) -> dict[str, Any]:
    """What a source adds to a step: each batch is trained on with and without it."""
    print(f"{type(recipe).__name__}: {pairs} pairs of steps", file=sys.stderr, flush=True)
    train.tune_process(threads=1, workers=1)
    mine = replace(experiment, data="short", trajectory=(recipe,), optimise=Optimise(steps=3 * pairs))
    with patch.object(Replay, "_anchor", out_of_reach):
        loop = worker.build(settle(mine, launch).work, Ranks(torch.device("cpu")), lambda message: None)
    parts, loader, sources = loop.parts, loop.loader, loop.parts.trajectory
    (source,) = sources
    began = loader.steps_per_epoch  # the first epoch fills the records
    merging = Clock(time.thread_time)
    took: dict[bool, list[float]] = {True: [], False: []}
    for step, batch in enumerate(loader.stream(0, began + pairs)):
        for on in (True, False) if step % 2 else (False, True):
            parts.trajectory = sources if on else ()
            with Clock(time.thread_time) as stepping:
                train_step(batch, parts)
            took[on].append(stepping.seconds)
        if (step + 1) % loader.steps_per_epoch == 0:
            feedback = loop.examiner.feedback({})  # the weighting wants it anyway
            with merging:
                source.merge(parts.ranks.gather)
                source.observe(feedback)
    without = median(took[False][began:])
    merge = merging.seconds / len(took[True]) / without
    shares = [on / off - 1 + merge for on, off in zip(took[True][began:], took[False][began:], strict=True)]
    return {"share": spread.median(shares), "share_ci": spread.interval(shares)}


def out_of_reach(replay: Replay, teacher: Teacher, moment: Moment, *rest: Any) -> Anchor:
    """No student comes near the teacher, so that its way is always in use."""
    losses = dict.fromkeys(teacher.card.tasks, 1 / moment.step**3)
    return replace(ANCHOR(replay, teacher, moment, *rest), loss=losses)


def say(message: Message) -> None:
    """Progress, on the side."""
    step = getattr(message, "step", 0)
    if step and step % 100 == 0:
        print(f"job: step {step}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print one JSON object."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument(
        "--pairs", type=int, default=30, help="pairs of blocks; twice as many of steps a source"
    )
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    arguments.add_argument("--size", type=int, nargs=2, default=(64, 128), help="height and width of images")
    arguments.add_argument("--channels", type=int, default=12, help="the student's width")
    asked = arguments.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory(prefix="jd-bench-") as folder:
        print("drawing", file=sys.stderr, flush=True)
        height, width = asked.size
        scenes = replace(demo_sized.SCENES, height=height, width=width)
        experiment = demo_sized.prepare(Path(folder), scenes, asked.channels)
        launch = replace(demo_sized.launch(Path(folder), workers=1), device=asked.device)
        said = compare(experiment, launch, asked.pairs)
        alone = replace(launch, workers=0)
        sources = {"own_past": OwnPast(), "teacher_way": TeacherWay()} if asked.device == "cpu" else {}
        for name, recipe in sources.items():
            found = share_of(recipe, experiment, alone, 2 * asked.pairs)
            said |= {f"{name}_{key}": value for key, value in found.items()}
    print(json.dumps({**said, "threads": 1, "cores": os.cpu_count(), "load_before": round(load, 1)}))


if __name__ == "__main__":
    main()
