"""A worker's life from its first import to its last snapshot; the same in this process and under Ray."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from statistics import median
from typing import cast

import numpy as np
import torch

from jointdistill.data.cache import Cache, build_cache
from jointdistill.data.loader import Loader, Share, in_order
from jointdistill.data.sampling import divide, refuse_useless
from jointdistill.engine.anchors import Anchors
from jointdistill.engine.branch import go_on_from
from jointdistill.engine.claims import Claim, Claims
from jointdistill.engine.examine import Examiner
from jointdistill.engine.keeper import DEAF, Ears, Outside
from jointdistill.engine.loop import Loop
from jointdistill.engine.objective import ask
from jointdistill.engine.parts import assemble, refuse_untaught
from jointdistill.engine.pictures import png, strips
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.remember import remember, setting_of
from jointdistill.engine.resume import student_weights
from jointdistill.engine.sharding import spread
from jointdistill.engine.snapshot import Snapshots
from jointdistill.engine.writer import Writer
from jointdistill.launch.addresses import cache_of
from jointdistill.launch.work import Message, Note, Outcome, Picture, Work
from jointdistill.nets.saved import DESCRIPTION, Model, save
from jointdistill.store.base import AlreadyThere
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal, Stopped

PICTURES = 6
"""Validation images that a picture shows."""
BATCH, REPEATS = 16, 9
"""How the student's speed is measured; sharded ranks repeat equally often."""


def live(work: Work, send: Callable[[Message], None], ears: Ears = DEAF) -> Outcome | None:
    """Train a run's student on this rank, or go on where it stopped. The first rank returns the outcome.

    `send` is called on the first rank only, and must not block. Raises `Stopped` once it was asked to stop
    and has kept a snapshot.
    """
    device = work.launch.device_here
    if work.launch.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
    torch.use_deterministic_algorithms(work.launch.deterministic)
    ranks = Ranks.current(device)
    say = send if ranks.first else _silent
    loop = build(work, ranks, say, ears)
    writer = loop.outside.writer
    for sentence in loop.examiner.unchecked():
        say(Note(sentence))
    if loop.resume():
        if 0 < work.until <= loop.parts.step:
            raise Stopped(f"at step {loop.parts.step} already")
        if "sweep" not in work.about:  # a trial does so at every rung
            say(Note(f"Going on from step {loop.parts.step} of {loop.steps}."))
    elif origin := work.experiment.origin:
        store, data = loop.outside.writer.snapshots.store, work.card.fingerprint
        taken = go_on_from(origin, loop.parts, store, data)
        say(Note(f"Going on from {origin} with its {', '.join(taken)}."))
        loop.heard = "weighting" in taken
    for skipped in writer.snapshots.skipped:
        say(Note(f"Passed over {skipped}."))
    scores = loop.run()
    # What sharded ranks can only compute together comes before they part.
    weights, speed, picture = student_weights(loop.parts), speed_of(loop), picture_of(loop)
    if not ranks.first:
        return None
    say(Picture(loop.parts.step, "validation", picture))
    writer.wait()
    for sentence in writer.told():
        say(Note(sentence))
    Claims(writer.snapshots.store, work.run).refuse_superseded(cast(Claim, writer.claim))
    loop.outside.anchors.index()
    card = work.card
    model = Model(
        work.experiment.student, loop.parts.tasks, card.height, card.width, card.fingerprint, scores
    )
    files = save(model, weights)
    outcome = Outcome(
        scores=scores,
        parameters=sum(value.numel() for value in weights.values()),
        images_per_s=speed,
        digest=json.loads(files[DESCRIPTION])["digest"],
        teachers={name: report.scores for name, report in loop.teachers.items()},
    )
    publish(work, files, outcome)
    return outcome


def rehearse(work: Work) -> None:
    """Find here, in the driver, what would make the workers refuse the run before its first step.

    Raises `Refusal`. It leaves behind what any run would find useful: decoded images and the scores of its
    teachers.
    """
    examiner = put_together(work, Ranks(work.launch.device_here), _silent).examiner
    for recipe in work.experiment.trajectory:
        recipe.check(setting_of(examiner))
    examiner.teachers()


def build(work: Work, ranks: Ranks, say: Callable[[Message], None], ears: Ears = DEAF) -> Loop:
    """Everything a rank trains with."""
    loop = put_together(work, ranks, say, ears)
    parts = loop.parts
    parts.trajectory = remember(loop.examiner, lambda sentence: say(Note(sentence)))
    loop.teachers = loop.examiner.teachers()
    # Only now: whole, they score alike to the last bit, however they lie on the ranks afterwards.
    sharding = work.launch.sharding
    parts.teachers = {name: spread(teacher, ranks, sharding) for name, teacher in parts.teachers.items()}
    return loop


def put_together(work: Work, ranks: Ranks, say: Callable[[Message], None], ears: Ears = DEAF) -> Loop:
    """A rank's parts as they are before any memory is fetched, and before teachers are sharded."""
    experiment, launch, card = work.experiment, work.launch, work.card
    store, tasks = open_store(work.storage), work.tasks
    train, validation = decode(work)
    slices = divide(train, experiment.sampling, tasks, card.feedback)
    refuse_useless(train, tasks, slices)
    loader = Loader(train, slices, experiment.sampling, tasks, experiment.seed, ranks.share)
    teachers = {
        name: recipe.build(tasks, store).freeze().to(ranks.device)
        for name, recipe in experiment.heard.items()
    }
    labelled = [task for task, rows in slices.labelled.items() if len(rows) and experiment.sampling.labelled]
    parts = assemble(experiment, launch, ranks, tasks, labelled, teachers)
    refuse_untaught(parts.objective.terms, tasks, teachers)
    examiner = Examiner(parts, train, slices, validation, card.fingerprint, store, ears.busy)
    outside = Outside(
        report=say,
        note=lambda sentence: say(Note(sentence)),
        writer=Writer(Snapshots(store, work.run, cast(str, work.about["identity"])), ranks.rank, work.about),
        anchors=Anchors(parts, examiner, store, work.run),
        owner=work.owner,
        ears=ears,
        until=work.until,
    )
    return Loop(parts, loader, examiner, launch, outside)


def decode(work: Work) -> tuple[Cache, Cache]:
    """The training and the validation split, decoded once on each machine.

    Raises `Refusal` at the first file or cell that is not what the card says.
    """
    data, tasks, folder = open_store(work.data), work.tasks, cache_of(work.launch.cache)
    train, validation = (build_cache(data, work.card, split, tasks, folder) for split in ("train", "val"))
    if both := {*train.keys}.intersection(validation.keys):
        raise Refusal(
            f"The frame '{min(both)}' is in train and in val: take it out of one, or give each frame its own "
            "key."
        )
    return train, validation


def picture_of(loop: Loop) -> bytes:
    """Some validation images as a PNG: image, truth, teachers and student side by side."""
    parts, validation = loop.parts, loop.examiner.validation
    labels = {task: validation.has(task).nonzero()[0] for task in parts.tasks}
    truths = sum(validation.has(task).astype(int) for task in parts.tasks)
    rows = np.sort(np.argsort(-truths, kind="stable")[:PICTURES])  # the first ones that show most
    batch = next(in_order(validation, parts.tasks, labels, Share(), rows)).to(parts.ranks.device)
    with torch.no_grad(), parts.as_exported():
        return png(strips(batch, parts.student(batch.image), ask(parts.teachers, batch), parts.tasks))


def speed_of(loop: Loop) -> float:
    """Images per second through the student alone, on the threads that this worker has."""
    parts, validation = loop.parts, loop.examiner.validation
    rows = np.arange(min(BATCH, len(validation)))
    image = next(in_order(validation, {}, {}, Share(), rows)).image.to(parts.ranks.device)
    took = []
    with torch.no_grad(), parts.as_exported():
        for _ in range(REPEATS):
            begun = time.perf_counter()
            sum(answer.sum() for answer in parts.student(image).answers.values()).item()
            took.append(time.perf_counter() - begun)
    return len(image) / median(took)


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
