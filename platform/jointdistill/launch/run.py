"""A run from the driver's side: what it rests on is found and pinned, workers train, MLflow hears of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import NoReturn, cast

from jointdistill.engine.branch import find, pin, refuse_unfit
from jointdistill.engine.claims import Claims, Hold, Owner
from jointdistill.engine.lineage import package_digest
from jointdistill.engine.registry import Published, publish
from jointdistill.engine.snapshot import Snapshots
from jointdistill.engine.subject import Subject
from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.engine.tracking import Tracking
from jointdistill.experiment import Experiment, Launch
from jointdistill.launch.addresses import absolute, card_at, data_of, storage_of, tracking_of
from jointdistill.launch.cluster import connected, device_of
from jointdistill.launch.stop import StopSign
from jointdistill.launch.train import train, tune_process
from jointdistill.launch.work import Message, Note, Outcome, Picture, Work
from jointdistill.launch.worker import rehearse
from jointdistill.recipe import flatten
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.objects import open_store
from jointdistill.types import JSON, Refusal, StepReport

SOON_S = 10.0
"""A storage that does not answer within this time, before a run begins, is taken for a mistyped address."""

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

    def say(sentence: str) -> None:
        watch(Note(sentence))

    tracking = open_tracking(experiment, launch, say)
    settled = settle(experiment, launch)
    name, store = settled.work.run, open_store(settled.work.storage)
    done = result(store, name)
    finished = tracking.finished(name, settled.subject) if done else None
    if done and finished:
        say(f"{name} is finished already; --fresh runs it again.")
        register(finished, launch, store, name, watch)
        return done
    told = settled.work.launch
    if not done and "RAY_ADDRESS" not in os.environ:
        tune_process(told.threads, max(1, told.workers))  # scores to the last bit as a worker finds them
        rehearse(settled.work)
    with (
        connected(told.least, told.device) if told.workers else nullcontext(),
        # What was refused before leaves no trace of a run.
        Hold(Claims(store, name), settled.work.owner, say),
    ):
        inscribe(store, settled)
        if origin := settled.subject.origin:
            pin(store, origin, name)
        with tracking.open(name, settled.subject) as record, StopSign() as sign:
            work = replace(settled.work, about={**settled.work.about, "mlflow_run": record.run_id})
            retell(record, name, store)  # what an earlier driver heard and took with it
            # A result without a finished record: training ended while MLflow was away.
            outcome = done or train(work, partial(_receive, watch, record), sign)
            retell(record, name, store)
            record.report(StepReport(experiment.optimise.steps, 0, final_metrics(outcome)))
            register(record, launch, store, name, watch)
    return outcome


def open_tracking(experiment: Experiment, launch: Launch, say: Callable[[str], None]) -> Tracking:
    """The record's place. It is asked for first, since teachers may lie there too."""
    card, store = card_at(data_of(launch, experiment.data)), open_store(storage_of(launch), SOON_S)
    store.list("runs")  # a mistyped address is told at once
    return Tracking.at(tracking_of(launch), card.name, store, launch.tracking_wait_s, say)


def settle(experiment: Experiment, launch: Launch) -> Settled:
    """Find and pin what the run rests on: addresses, data, teachers, device, name."""
    storage, tracking = storage_of(launch), tracking_of(launch)
    data = data_of(launch, experiment.data)
    card = card_at(data)
    store = open_store(storage)
    tasks = {name: task.described_by(card) for name, task in experiment.tasks.items()}
    pinned = {name: recipe.pin(store, tracking) for name, recipe in experiment.heard.items()}
    digests = {name: recipe.build(tasks, store).card.digest for name, recipe in pinned.items()}
    from_run = ""
    if experiment.origin:
        refuse_unfit(store, experiment.origin, experiment)
        snapshots, manifest = find(store, experiment.origin)
        experiment = replace(experiment, origin=f"{snapshots.run}@{manifest.name}")
        from_run = str(manifest.about.get("mlflow_run", ""))
    subject = replace(Subject.of(experiment, card.fingerprint, digests, card.name), from_run=from_run)
    name = launch.run or f"{experiment.name}-{subject.identity[:10]}"
    # Workers need no address of MLflow, which may hold a password, and decide on nothing by themselves.
    cache = absolute(launch.cache, "--cache") if launch.cache else ""  # else each machine's own
    told = replace(launch, tracking="", cache=cache, device=device_of(launch))
    pinned_experiment = replace(experiment, teachers=pinned)
    run_name = attempt(store, name, subject, launch.fresh)
    about = {**rests_on(subject), "package": package_digest()}
    work = Work(pinned_experiment, told, run_name, storage, data, card, Owner.here(), about)
    return Settled(work, subject, tracking)


def attempt(store: Store, name: str, subject: Subject, fresh: bool) -> str:
    """The newest attempt at the run of this name (NAME, NAME-2, …), or the next one.

    Raises `Refusal` where NAME is another run.
    """
    taken = ""
    for number in count(1):
        candidate = name if number == 1 else f"{name}-{number}"
        there = _run_file(store, candidate)
        if there is None:
            return candidate if fresh or not taken else taken
        if there["identity"] == subject.identity:
            taken = candidate
        elif number == 1:
            _refuse_another(candidate, there, subject)
    raise AssertionError("count() has no end")


def inscribe(store: Store, settled: Settled) -> None:
    """Write what the run is beside its results; refuse where another experiment took its name meanwhile."""
    name = settled.work.run
    try:
        store.put(f"runs/{name}/run.json", json.dumps(_said_of(settled.subject), indent=2).encode())
    except AlreadyThere:
        there = _run_file(store, name)
        if there and there["identity"] != settled.subject.identity:
            _refuse_another(name, there, settled.subject)


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


def retell(record: TrackedRun, name: str, store: Store) -> None:
    """Record what the run's snapshots know was reported. What is recorded already stays as it is."""
    snapshots = Snapshots(store, name)
    newest = next(iter(snapshots.manifests()), None)
    record.report(*snapshots.reports(until=newest.step if newest else 0))


def register(record: TrackedRun, launch: Launch, store: Store, name: str, watch: Watch) -> None:
    """Register a finished run's model under the name that was asked for, if any."""
    if launch.register:
        watch(Note(_verdict(publish(record, launch.register, model_files(store, name)))))


def _run_file(store: Store, name: str) -> dict[str, JSON] | None:
    try:
        return cast("dict[str, JSON]", json.loads(store.get(f"runs/{name}/run.json")))
    except Missing:
        return None


def _refuse_another(name: str, there: Mapping[str, JSON], subject: Subject) -> NoReturn:
    raise Refusal(
        f"The run '{name}' exists and is another one: {_difference(there, _said_of(subject))}. Choose "
        "another --run, or leave it out."
    )


def _said_of(subject: Subject) -> dict[str, JSON]:
    return {**rests_on(subject), "experiment": dict(subject.described)}


def rests_on(subject: Subject) -> dict[str, JSON]:
    """What makes a run the one it is, for its files."""
    return {"identity": subject.identity, "data": subject.data, "teachers": dict(subject.teachers)}


def _difference(other: Mapping[str, JSON], mine: Mapping[str, JSON]) -> str:
    """The knobs in which two runs differ, in words."""
    theirs, ours = (flatten(cast("dict[str, JSON]", dict(said))) for said in (other, mine))
    differing = [
        name for name in sorted({*theirs, *ours} - {"identity"}) if theirs.get(name) != ours.get(name)
    ]
    shown = [f"{name} is {ours.get(name)} here and {theirs.get(name)} there" for name in differing[:3]]
    return ", ".join(shown) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")


def _verdict(published: Published) -> str:
    alias = "champion" if published.verdict.champion else "not champion"
    return f"Registered models:/{published.name}/{published.version}, {alias}: {published.verdict.reason}"
