"""A run that goes on from a snapshot of another one, with other weights or another weighting."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import cast

from jointdistill.engine import rng
from jointdistill.engine.parts import Parts
from jointdistill.engine.resume import restore_average, restore_optimiser, restore_student
from jointdistill.engine.snapshot import Manifest, Snapshots
from jointdistill.experiment import Experiment
from jointdistill.store.base import Missing, Store
from jointdistill.types import JSON, Refusal

_ORIGIN = re.compile(r"(?P<run>[\w.-]+)@(?P<step>\d+)(?:-(?P<claim>\d+))?")


def find(store: Store, origin: str) -> tuple[Snapshots, Manifest]:
    """The snapshot at `RUN@STEP`, and the snapshots it is one of. Raises `Refusal` where there is none."""
    said = _ORIGIN.fullmatch(origin)
    if said is None:
        raise Refusal(f"--from {origin} names no snapshot: write RUN@STEP.")
    snapshots = Snapshots(store, said["run"])
    there = snapshots.manifests()
    for manifest in there:
        if manifest.step == int(said["step"]) and int(said["claim"] or manifest.claim) == manifest.claim:
            return snapshots, manifest
    steps = ", ".join(str(manifest.step) for manifest in reversed(there))
    has = f"it has those of steps {steps}" if there else "it has none"
    raise Refusal(f"--from {origin}: the run '{said['run']}' has no snapshot of that step, {has}.")


def refuse_unfit(store: Store, origin: str, experiment: Experiment) -> None:
    """Raises `Refusal` where an experiment cannot go on from there: another student, or no step left."""
    snapshots, manifest = find(store, origin)
    if manifest.step >= experiment.optimise.steps:
        raise Refusal(
            f"--from {origin} is at step {manifest.step} already: raise --optimise.steps above that."
        )
    if not _alike(experiment.describe(), _experiment(store, origin, snapshots.run), "student", "tasks"):
        raise Refusal(f"--from {origin} holds another student or other tasks: use the same ones.")


def pin(store: Store, origin: str, run: str) -> None:
    """Keep the origin from being deleted, for the run that goes on from it."""
    snapshots, manifest = find(store, origin)
    snapshots.pin(manifest, run)


def go_on_from(origin: str, parts: Parts, store: Store, data: str) -> list[str]:
    """Take over what fits of a snapshot: the names of that.

    1. The student always; it must be the same network.
    2. The optimiser where its rule, and what is trained beside the student, are the same.
    3. The weighting where it is the same method with the same terms; its knobs may be others.
    4. Each trajectory where the tasks and the images are the same, and its recipe but for `free` knobs.

    Raises `Refusal` where the snapshot is damaged.
    """
    snapshots, manifest = find(store, origin)
    theirs = _experiment(store, origin, snapshots.run)
    ours = parts.experiment.describe()
    try:
        snapshot = snapshots.read(manifest)
    except (Missing, ValueError) as wrong:
        raise Refusal(f"--from {origin} cannot be read ({wrong}): choose another step.") from wrong

    digests = {name: teacher.card.digest for name, teacher in parts.teachers.items()}
    same_losses = _alike(ours, theirs, "distil") and digests == manifest.about.get("teachers")
    descent = _of(ours, "optimise", "optimiser") == _of(theirs, "optimise", "optimiser")
    weighting = snapshot.parts["weighting"]
    same_method = _of(ours, "weighting", "recipe") == _of(theirs, "weighting", "recipe")
    # A knob may decide what a method measures at all.
    weighs_alike = (
        same_losses
        and _alike(ours, theirs, "sampling")
        and same_method
        and parts.weighting.state()[0].keys() == weighting[0].keys()
    )
    taken = ["student"]
    # Connectors go by their place among the losses, where another one may stand now.
    beside = {"objective": same_losses, "weighting": weighs_alike}
    restore_student(parts, snapshot, [part for part, fits in beside.items() if fits])
    restore_average(parts, snapshot)
    if weighs_alike and descent:
        restore_optimiser(parts, snapshot)
        taken.append("optimiser")
    if weighs_alike:
        parts.weighting.load(weighting)
        taken.append("weighting")
    known = [_bound(recipe, ()) for recipe in cast("list[JSON]", theirs["trajectory"])]
    for place, (recipe, source) in enumerate(zip(parts.experiment.trajectory, parts.trajectory, strict=True)):
        mine = _bound(cast("list[JSON]", ours["trajectory"])[place], recipe.free)
        fitting = [their for their, knobs in enumerate(known) if mine.items() <= knobs.items()]
        if fitting and manifest.about.get("data") == data:
            source.load(snapshot.parts[f"trajectory-{fitting[0]}"])
            taken.append(f"trajectory {place + 1}")
    if manifest.about.get("world") == parts.ranks.world:
        rng.restore(snapshot.parts[f"rng-{parts.ranks.rank}"][0])
    parts.stand_at(manifest.step)
    return taken


def _experiment(store: Store, origin: str, run: str) -> dict[str, JSON]:
    try:
        return cast("dict[str, JSON]", json.loads(store.get(f"runs/{run}/run.json"))["experiment"])
    except (Missing, ValueError, KeyError) as wrong:
        raise Refusal(f"--from {origin}: the run's run.json cannot be read ({wrong}).") from wrong


def _alike(ours: Mapping[str, JSON], theirs: Mapping[str, JSON], *knobs: str) -> bool:
    return all(ours.get(knob) == theirs.get(knob) for knob in knobs)


def _bound(recipe: JSON, free: tuple[str, ...]) -> dict[str, JSON]:
    """A recipe's knobs without those that may differ."""
    return {name: value for name, value in cast("dict[str, JSON]", recipe).items() if name not in free}


def _of(experiment: Mapping[str, JSON], part: str, knob: str) -> JSON:
    return cast("Mapping[str, JSON]", experiment[part]).get(knob)
