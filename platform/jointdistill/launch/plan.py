"""What a run would be: its parts, parameters, memory and an estimate of its time, from a few real steps."""

from __future__ import annotations

import time
from itertools import islice
from typing import NamedTuple

import psutil
import torch
from rich.table import Table
from torch import nn

from jointdistill.engine.loop import Loop
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.step import train_step
from jointdistill.engine.tracking import Tracking
from jointdistill.experiment import Experiment
from jointdistill.launch.settle import result, settle
from jointdistill.launch.train import tune_process
from jointdistill.launch.work import Work
from jointdistill.launch.worker import build
from jointdistill.place import Launch
from jointdistill.store.objects import open_store
from jointdistill.store.registry import redacted

PROBED = 4
"""Steps that are tried."""


class Probe(NamedTuple):
    """What a few steps told."""

    loop: Loop
    """Whose parts are used up."""
    step_s: float
    """Seconds a step, on as many workers as were asked for."""


def probe(work: Work, launch: Launch, steps: int = PROBED) -> Probe:
    """Train a few steps on copies that are thrown away; the first one only warms up."""
    device = launch.device_here
    tune_process(launch.threads, max(1, launch.workers))
    loop = build(work, Ranks(device), lambda message: None)
    parts = loop.parts
    batches = islice(loop.loader.stream(0, steps), steps)
    train_step(next(batches).to(device), parts).losses.sum().item()
    begun, done = time.perf_counter(), 0
    for batch in batches:
        train_step(batch.to(device), parts).losses.sum().item()  # waits for the device
        done += 1
    return Probe(loop, (time.perf_counter() - begun) / max(1, done) / max(1, launch.workers))


def plan(experiment: Experiment, launch: Launch) -> Table:
    """The plan as a table. It trains a few steps on copies that are thrown away, and records no run. Decoded
    images, copies of teachers and their scores stay where the run itself will look for them.

    Raises `Refusal` for all bad input that the run itself would refuse before its first step.
    """
    settled = settle(experiment, launch)
    work = settled.work
    tried = probe(work, launch)
    loop, parts, per_step_s = tried.loop, tried.loop.parts, tried.step_s
    Tracking.at(settled.tracking, work.card.name, open_store(work.storage))
    device = parts.ranks.device

    rows = {
        "run": work.run + (" (finished already)" if result(open_store(work.storage), work.run) else ""),
        "identity": settled.subject.identity,
        "storage": work.storage,
        "tracking": redacted(settled.tracking),
        "data": f"{work.data}: "
        + ", ".join(f"{images} {split}" for split, images in work.card.splits.items())
        + f", {work.card.height}x{work.card.width}",
        "labels": ", ".join(f"{len(rows)} of {task}" for task, rows in loop.examiner.slices.labelled.items()),
        "feedback slice": ", ".join(
            f"{len(rows)} of {task}" for task, rows in loop.examiner.slices.feedback.items()
        ),
        "student": f"{_millions(parts.network)} parameters",
        **{
            f"teacher {name}": f"{_millions(teacher)} parameters, {', '.join(teacher.card.tasks)}"
            for name, teacher in parts.teachers.items()
        },
        "terms": ", ".join(map(str, parts.objective.terms)),
        "weighting": type(experiment.weighting).__name__,
        "trajectory": ", ".join(type(source).__name__ for source in experiment.trajectory) or "off",
        "workers": f"{launch.workers or 'this process'} on {device}, {launch.sharding}",
        "memory a worker": f"{_memory_gb(device):.1f} GB",
        "time": f"about {per_step_s * 1e3:.0f} ms a step, "
        f"{per_step_s * experiment.optimise.steps / 60:.1f} min for {experiment.optimise.steps} steps",
    }
    shown = Table(show_header=False, title=f"{experiment.name}: what would run", title_justify="left")
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown


def _millions(network: nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.2f} M"


def _memory_gb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return psutil.Process().memory_info().rss / 1e9
