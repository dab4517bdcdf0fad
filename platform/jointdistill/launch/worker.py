"""A worker's life from its first import to its last snapshot; the same in this process and under Ray."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch

from jointdistill.data.cache import Cache, build_cache
from jointdistill.data.loader import Loader, Share, divide, in_order
from jointdistill.engine.anchors import Anchors
from jointdistill.engine.examine import Examiner, as_exported
from jointdistill.engine.loop import Loop, Outside
from jointdistill.engine.objective import ask
from jointdistill.engine.parts import Parts, assemble
from jointdistill.engine.pictures import png, strips
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.remember import remember
from jointdistill.engine.resume import student_weights
from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch.work import Message, Note, Outcome, Picture, Work
from jointdistill.nets.saved import DESCRIPTION, Model, save
from jointdistill.store.base import AlreadyThere
from jointdistill.store.objects import open_store

PICTURES = 6
"""Validation images that a picture shows."""


def live(work: Work, send: Callable[[Message], None]) -> Outcome:
    """Train a run's student on this rank, or go on where it stopped; every rank returns the outcome.

    `send` is called on the first rank only, and must not block.
    """
    device = torch.device(work.launch.chosen_device)
    torch.use_deterministic_algorithms(work.launch.deterministic)
    ranks = Ranks.current(device)
    say = send if ranks.first else _silent
    loop = build(work, ranks, say)
    teachers = loop.examiner.teachers()
    if loop.resume():
        say(Note(f"Going on from step {loop.parts.step} of {loop.steps}."))
    for skipped in loop.outside.snapshots.skipped:
        say(Note(f"Passed over the snapshot {skipped}."))
    scores = loop.run(teachers)

    parts, validation, card = loop.parts, loop.examiner.validation, work.card
    weights = student_weights(parts)
    say(Picture(parts.step, "validation", draw(parts, validation)))
    model = Model(work.experiment.student, parts.tasks, card.height, card.width, card.fingerprint, scores)
    files = save(model, weights)
    outcome = Outcome(
        scores=scores,
        parameters=sum(value.numel() for value in weights.values()),
        images_per_s=inference_speed(parts, validation),
        digest=json.loads(files[DESCRIPTION])["digest"],
        teachers={name: report.scores for name, report in teachers.items()},
    )
    if ranks.first:
        loop.outside.anchors.index()
        publish(work, files, outcome)
    return outcome


def build(work: Work, ranks: Ranks, say: Callable[[Message], None]) -> Loop:
    """Everything a rank trains with."""
    experiment, launch, card = work.experiment, work.launch, work.card
    store, data = open_store(work.storage), open_store(work.data)
    tasks = {name: task.described_by(card) for name, task in experiment.tasks.items()}
    train, validation = (
        build_cache(data, card, split, tasks, Path(launch.cache_folder)) for split in ("train", "val")
    )
    slices = divide(train, experiment.sampling, tasks, card.feedback)
    loader = Loader(train, slices, experiment.sampling, tasks, experiment.seed, ranks.share)
    teachers = {
        name: recipe.build(tasks, store).freeze().to(ranks.device)
        for name, recipe in experiment.teachers.items()
    }
    parts = assemble(experiment, launch, ranks, tasks, teachers)
    parts.trajectory = remember(parts, train, slices, card.fingerprint, store)
    examiner = Examiner(parts, train, slices, validation, card.fingerprint, store)
    anchors = Anchors(parts, examiner, store, work.run)
    return Loop(parts, loader, examiner, launch, Outside(say, Snapshots(store, work.run), anchors))


def draw(parts: Parts, validation: Cache) -> bytes:
    """The first validation images as a PNG: image, truth, teachers and student side by side."""
    first = {task: validation.has(task).nonzero()[0][:PICTURES] for task in parts.tasks}
    batch = next(in_order(validation, first, 2 * PICTURES, Share())).to(parts.ranks.device)
    with torch.no_grad(), as_exported(parts):
        return png(strips(batch, parts.student(batch.image), ask(parts.teachers, batch), parts.tasks))


def inference_speed(parts: Parts, validation: Cache, seconds: float = 1.0) -> float:
    """Images per second through the student alone, on the threads this worker has."""
    any_task = next(iter(parts.tasks))
    rows = {any_task: validation.has(any_task).nonzero()[0][:16]}
    image = next(in_order(validation, rows, 16, Share())).image.to(parts.ranks.device)
    done, begun = 0, time.perf_counter()
    with torch.no_grad(), as_exported(parts):
        while time.perf_counter() - begun < seconds:
            parts.student(image).shared.sum().item()
            done += len(image)
    return done / (time.perf_counter() - begun)


def publish(work: Work, files: Mapping[str, bytes], outcome: Outcome) -> None:
    """Put the model and, last, the result on the storage: a run with a result is finished."""
    store = open_store(work.storage)
    result = json.dumps(outcome.plain(), indent=2).encode()
    for key, content in [
        *((f"model/{name}", content) for name, content in files.items()),
        ("result.json", result),
    ]:
        with suppress(AlreadyThere):
            store.put(f"runs/{work.run}/{key}", content)


def _silent(message: Message) -> None:
    """What the other ranks say."""
