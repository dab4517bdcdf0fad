"""Runs a sweep from the driver's side: Tune runs its trials, MLflow hears of them, a report ends it."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from typing import Any

from jointdistill.engine.claims import Claims, Hold
from jointdistill.launch.cluster import connected, device_of
from jointdistill.launch.run import Watch, open_tracking, register
from jointdistill.launch.settle import Settled, attempt, inscribe, settle
from jointdistill.launch.stop import StopSign
from jointdistill.launch.train import tune_process
from jointdistill.launch.work import Note
from jointdistill.launch.worker import rehearse
from jointdistill.place import Launch
from jointdistill.search.answers import Answers
from jointdistill.search.ledger import Course, Ledger
from jointdistill.search.objective import DELTA_M, refuse_no_reference
from jointdistill.search.plan import Plan, Segment
from jointdistill.search.postbox import postbox
from jointdistill.search.posts import Posted
from jointdistill.search.record import Record
from jointdistill.search.report import Report
from jointdistill.search.sweep import Sweep
from jointdistill.search.trial import on_workers
from jointdistill.search.tuning import Share, search
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal


def prepare(
    sweep: Sweep, launch: Launch, share: Share, segment: Segment = on_workers
) -> tuple[Settled, Plan]:
    """What a sweep rests on, and what its trials have in common.

    Raises `Refusal` for bad input, before anything is trained.
    """
    if launch.run or launch.fresh:
        raise Refusal(
            "--run and --fresh are of one run: a sweep goes by its --name, and on with what is there."
        )
    device = device_of(replace(launch, workers=max(1, launch.workers)))  # of the cluster, not of its head
    told = replace(launch, device=device, workers=0 if launch.workers < 2 else launch.workers)
    base = settle(sweep.base, replace(told, threads=launch.threads or max(1, int(share.cpus))))
    subject = replace(
        base.subject,
        described=sweep.describe(),
        identity=sweep.identity(base.subject.data, base.subject.teachers),
    )
    store = open_store(base.work.storage)
    attempt(store, sweep.name, subject, fresh=False)  # its name may be in use
    reference = {**_of_teachers(base, store), **sweep.reference}
    if DELTA_M in sweep.objectives:
        refuse_no_reference(base.work.tasks, reference)
    on_gpu = base.work.launch.chosen_device == "cuda"
    if sweep.gpu_hours and not on_gpu:
        raise Refusal(f"--gpu-hours {sweep.gpu_hours:g}: trials use no GPU here, so give --hours.")
    plan = Plan(
        sweep=sweep.name,
        base=sweep.base,
        settled=base,
        space=sweep.space,
        rungs=sweep.scheduler.rungs(sweep.steps),
        reference=reference,
        gpus=(told.workers or share.gpus) if on_gpu else 0.0,
        segment=segment,
    )
    return Settled(replace(base.work, run=sweep.name), subject, base.tracking), plan


def conduct(
    sweep: Sweep, launch: Launch, share: Share, watch: Watch, segment: Segment = on_workers
) -> Report:
    """Run a sweep to its end, or go on with it.

    Raises `Refusal` for bad input, before anything is trained.
    """

    def say(sentence: str) -> None:
        watch(Note(sentence))

    tracking = open_tracking(sweep.base, launch, say)
    settled, plan = prepare(sweep, launch, share, segment)
    work, store = settled.work, open_store(settled.work.storage)
    answers = Answers(store, sweep.name)
    if "RAY_ADDRESS" not in os.environ:
        tune_process(work.launch.threads, 1)
        rehearse(work)
    with (
        connected(max(1, work.launch.workers), work.launch.chosen_device),
        StopSign() as sign,
        Hold(Claims(store, sweep.name), work.owner, say),
    ):
        inscribe(store, settled)
        ledger = Ledger(answers, sweep.space, sweep.ranked_by, say)
        with tracking.open(sweep.name, settled.subject) as parent, postbox() as box:
            for name, most in sweep.budget.items():
                parent.tag(f"jointdistill.budget.{name}", f"{most:g}")
            with Record(tracking, parent, partial(_collected, box), say) as record:
                search(sweep, plan, share, ledger, sign, box)
            ledger.recount()
            report = Report(sweep, ledger.courses, ledger.seconds_unended * plan.gpus / 3600)
            report.write(parent)
            if failed := report.all_failed:
                raise Refusal(f"Every trial failed, the first one with: {failed}")
            if best := report.best:
                _register(record, best, launch, store, watch)
    if launch.register and not report.best:
        raise Refusal(
            f"No trial came to its end with a score, so nothing is registered as {launch.register}: the same "
            "command goes on with what there is, for longer with larger --hours or --gpu-hours."
        )
    return report


def _collected(box: Any) -> list[Posted]:
    import ray

    return ray.get(box.collect.remote())  # type: ignore[no-any-return]


def _of_teachers(base: Settled, store: Store) -> dict[str, float]:
    """`task/metric` → the best score that a teacher says of itself, on this data."""
    tasks = base.work.tasks
    found: dict[str, float] = {}
    for recipe in base.work.experiment.heard.values():
        card = recipe.build(tasks, store).card
        if card.data not in ("", base.work.card.fingerprint):
            continue  # scored on other images
        for name, score in card.scores.items():
            task, _, metric = name.partition("/")
            if task in tasks and metric in tasks[task].scores:
                best = max if tasks[task].scores[metric] else min
                found[name] = best(score, found.get(name, score))
    return found


def _register(record: Record, best: Course, launch: Launch, store: Store, watch: Watch) -> None:
    """Register the best student under the name that was asked for, if any."""
    if launch.register:
        with record.run_of(best.run) as run:
            register(run, launch, store, best.run, watch)
