"""A run from the driver's side: what it rests on is found and pinned, workers train, MLflow hears of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import cast

from jointdistill.engine.registry import Published, publish
from jointdistill.engine.tracking import Subject, TrackedRun, Tracking
from jointdistill.experiment import Experiment, Launch
from jointdistill.launch.addresses import card_at, data_of, storage_of, tracking_of
from jointdistill.launch.train import train
from jointdistill.launch.work import Message, Note, Outcome, Picture, Work
from jointdistill.launch.worker import decode
from jointdistill.recipe import flatten
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.objects import open_store
from jointdistill.types import JSON, Refusal, StepReport

Watch = Callable[[Message], None]
"""Whoever looks on: the console's progress bar, a test."""


@dataclass(frozen=True)
class Settled:
    """A run before its first step: everything it rests on is found and fixed."""

    work: Work
    subject: Subject
    tracking: str


def run(experiment: Experiment, launch: Launch, watch: Watch) -> Outcome:
    """Run an experiment to its end, or hand out the result of the run that already did.

    Raises `Refusal` for bad input, before anything is trained.
    """
    settled = settle(experiment, launch)
    store = open_store(settled.work.storage)
    tracking = Tracking.at(settled.tracking, experiment.data, store)
    done = result(store, settled.work.run)
    if done is not None and tracking.finished(settled.subject.identity):
        watch(Note(f"{settled.work.run} is finished already; --fresh runs it again."))
        return done
    if done is None and "RAY_ADDRESS" not in os.environ:
        # The workers of this machine find it decoded, and what is wrong with it leaves no trace of a run.
        decode(settled.work)
    claim(store, settled)
    with tracking.open(settled.work.run, settled.subject) as record:
        # A result without a finished record: training ended while MLflow was away.
        outcome = done or train(settled.work, partial(_receive, watch, record))
        record.report(StepReport(experiment.optimise.steps, 0, final_metrics(outcome)))
        if launch.register:
            watch(Note(_said(publish(record, launch.register, model_files(store, settled.work.run)))))
    return outcome


def settle(experiment: Experiment, launch: Launch) -> Settled:
    """Find and pin what the run rests on: addresses, data, teachers, name."""
    storage, tracking = storage_of(launch), tracking_of(launch)
    data = data_of(launch, experiment.data)
    card = card_at(data)
    store = open_store(storage)
    tasks = {name: task.described_by(card) for name, task in experiment.tasks.items()}
    pinned = {name: recipe.pin(store, tracking) for name, recipe in experiment.heard.items()}
    digests = {name: recipe.build(tasks, store).card.digest for name, recipe in pinned.items()}
    subject = Subject(experiment, card.fingerprint, digests)
    name = launch.run or f"{experiment.name}-{subject.identity[:10]}"
    name = attempt(store, name, fresh=launch.fresh)
    work = Work(replace(experiment, teachers=pinned), launch, name, storage, data, card)
    return Settled(work, subject, tracking)


def attempt(store: Store, name: str, *, fresh: bool) -> str:
    """The newest attempt at a run of this name (NAME, NAME-2, …), or a new one."""
    taken = ""
    for number in count(1):
        candidate = name if number == 1 else f"{name}-{number}"
        if next(iter(store.list(f"runs/{candidate}")), None) is None:
            return candidate if fresh or not taken else taken
        taken = candidate
    raise AssertionError("count() has no end")


def claim(store: Store, settled: Settled) -> None:
    """Write what the run is beside its results; refuse where another experiment bears its name."""
    mine = _identity_file(settled)
    key = f"runs/{settled.work.run}/run.json"
    try:
        store.put(key, json.dumps(mine, indent=2).encode())
    except AlreadyThere:
        other = json.loads(store.get(key))
        if other["identity"] != mine["identity"]:
            raise Refusal(
                f"The run '{settled.work.run}' exists and is another one: {_difference(other, mine)}. Choose "
                "another --run, or leave it out."
            ) from None


def result(store: Store, run_name: str) -> Outcome | None:
    """What a finished run is worth; none where it is not finished."""
    try:
        return Outcome(**json.loads(store.get(f"runs/{run_name}/result.json")))
    except Missing:
        return None


def model_files(store: Store, run_name: str) -> dict[str, bytes]:
    """The trained model of a run, file by file."""
    folder = f"runs/{run_name}/model"
    return {key.removeprefix(f"{folder}/"): store.get(key) for key in store.list(folder)}


def final_metrics(outcome: Outcome) -> dict[str, float]:
    """What a run is judged by, as metrics: `val/…` for the student, `teacher/NAME/…` for who taught it."""
    metrics = {f"val/{name}": value for name, value in outcome.scores.items()}
    for teacher, scores in outcome.teachers.items():
        metrics |= {f"teacher/{teacher}/{name}": value for name, value in scores.items()}
    return metrics | {"parameters": float(outcome.parameters), "inference_images_per_s": outcome.images_per_s}


def _receive(watch: Watch, record: TrackedRun, message: Message) -> None:
    """Show a message, and record what is to be kept of it."""
    watch(message)
    match message:
        case StepReport():
            record.report(message)
        case Picture():
            record.picture(f"{message.name}-{message.step:06d}.png", message.png)
        case Note():
            pass


def _identity_file(settled: Settled) -> dict[str, JSON]:
    subject = settled.subject
    return {
        "identity": subject.identity,
        "data": subject.data,
        "teachers": dict(subject.teachers),
        "experiment": subject.experiment.describe(),
    }


def _difference(other: Mapping[str, JSON], mine: Mapping[str, JSON]) -> str:
    """The knobs in which two runs differ, in words."""
    theirs, ours = (flatten(cast("dict[str, JSON]", dict(said))) for said in (other, mine))
    differing = [
        name for name in sorted({*theirs, *ours} - {"identity"}) if theirs.get(name) != ours.get(name)
    ]
    shown = [f"{name} is {ours.get(name)} here and {theirs.get(name)} there" for name in differing[:3]]
    return ", ".join(shown) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")


def _said(published: Published) -> str:
    alias = "champion" if published.verdict.champion else "not champion"
    return f"Registered models:/{published.name}/{published.version}, {alias}: {published.verdict.reason}"
