"""What a run rests on, found and pinned, and what lies on the storage about it.

Nothing here knows MLflow, so that a trial of a sweep need not wait for its import.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import NoReturn, cast

from jointdistill.engine.branch import find, refuse_unfit
from jointdistill.engine.claims import Owner
from jointdistill.engine.lineage import package_digest
from jointdistill.engine.subject import Subject
from jointdistill.experiment import Experiment
from jointdistill.launch.addresses import absolute, card_at, data_of, storage_of, tracking_of
from jointdistill.launch.cluster import device_of
from jointdistill.launch.work import Outcome, Work
from jointdistill.place import Launch
from jointdistill.recipe import flatten
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.objects import open_store
from jointdistill.types import JSON, Refusal


@dataclass(frozen=True)
class Settled:
    """A run before its first step: everything it rests on is found and fixed."""

    work: Work
    subject: Subject
    tracking: str


def settle(experiment: Experiment, launch: Launch) -> Settled:
    """Find and pin what the run rests on: addresses, data, teachers, device, name."""
    storage, tracking = storage_of(launch.storage), tracking_of(launch)
    data = data_of(experiment.data, launch.storage, launch.data)
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


def _run_file(store: Store, name: str) -> dict[str, JSON] | None:
    try:
        return cast("dict[str, JSON]", json.loads(store.get(f"runs/{name}/run.json")))
    except Missing:
        return None


def _refuse_another(name: str, there: Mapping[str, JSON], subject: Subject) -> NoReturn:
    raise Refusal(
        f"The run '{name}' exists and is another one: {_difference(there, _said_of(subject))}. Choose "
        "another --run (of a sweep, --name), or leave it out."
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
