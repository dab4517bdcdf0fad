"""A run from the driver's side: what it rests on is settled, workers train, MLflow hears of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from jointdistill.engine.branch import pin
from jointdistill.engine.claims import Claims, Hold
from jointdistill.engine.registry import Published, publish
from jointdistill.engine.snapshot import Snapshots
from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.engine.tracking import Tracking
from jointdistill.experiment import Experiment
from jointdistill.launch.addresses import card_at, data_of, storage_of, tracking_of
from jointdistill.launch.cluster import connected
from jointdistill.launch.settle import inscribe, model_files, result, settle
from jointdistill.launch.stop import StopSign
from jointdistill.launch.train import train, tune_process
from jointdistill.launch.work import Message, Note, Outcome, Picture
from jointdistill.launch.worker import rehearse
from jointdistill.place import Launch
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import StepReport

SOON_S = 10.0
"""A storage that does not answer within this time, before a run begins, is taken for a mistyped address."""

Watch = Callable[[Message], None]
"""Whoever looks on: the console's progress bar, a test."""


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
        StopSign() as sign,
        # What was refused before leaves no trace of a run.
        Hold(Claims(store, name), settled.work.owner, say),
    ):
        inscribe(store, settled)
        if origin := settled.subject.origin:
            pin(store, origin, name)
        with tracking.open(name, settled.subject) as record:
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
    card, store = (
        card_at(data_of(experiment.data, launch.storage, launch.data)),
        open_store(storage_of(launch.storage), SOON_S),
    )
    store.list("runs")  # a mistyped address is told at once
    return Tracking.at(tracking_of(launch), card.name, store, launch.tracking_wait_s, say)


def final_metrics(outcome: Outcome) -> dict[str, float]:
    """What a run is judged by, as metrics: `val/…` of the student, and `feedback/teacher/NAME/…`, on other
    images, of who taught it."""
    metrics = {f"val/{name}": value for name, value in outcome.scores.items()}
    for teacher, scores in outcome.teachers.items():
        metrics |= {f"feedback/teacher/{teacher}/{name}": value for name, value in scores.items()}
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


def _verdict(published: Published) -> str:
    alias = "champion" if published.verdict.champion else "not champion"
    return f"Registered models:/{published.name}/{published.version}, {alias}: {published.verdict.reason}"
