"""Runs a sweep from the driver's side: Tune runs its trials, MLflow hears of them, a report ends it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from jointdistill.engine.claims import Claims, Hold
from jointdistill.experiment import Launch
from jointdistill.launch.cluster import autoscales, connected, device_of
from jointdistill.launch.run import (
    Settled,
    Watch,
    attempt,
    inscribe,
    open_tracking,
    register,
    settle,
)
from jointdistill.launch.stop import StopSign
from jointdistill.launch.train import interruptible, tune_process
from jointdistill.launch.work import Note
from jointdistill.launch.worker import rehearse
from jointdistill.search.answers import Answers
from jointdistill.search.ledger import Course, Ledger, Spent
from jointdistill.search.objective import DELTA_M, refuse_no_reference
from jointdistill.search.record import Record, collector
from jointdistill.search.report import Report
from jointdistill.search.searchers.base import Search
from jointdistill.search.sweep import Sweep
from jointdistill.search.trial import Paused, Plan, Segment, Trial, on_workers
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal

RESTARTS = 3
"""How often a trial begins again, from its last snapshot, after its process was lost."""


@dataclass(frozen=True)
class Share:
    """What a trial gets of the cluster."""

    cpus: float = 1.0
    """Cores of a trial that trains in one process; its threads, unless --threads says otherwise."""
    gpus: float = 1.0
    """GPUs of such a trial, on CUDA; a half lets two share one."""
    at_once: int = 0
    """Trials at a time; 0: as many as the cluster has room for."""

    def __post_init__(self) -> None:
        if self.cpus <= 0 or self.gpus <= 0 or self.at_once < 0:
            raise Refusal("--cpus and --gpus must be above 0, and --at-once at least 0.")


def prepare(sweep: Sweep, launch: Launch, share: Share) -> tuple[Settled, Plan]:
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
    plan = Plan(
        sweep=sweep.name,
        base=sweep.base,
        settled=base,
        space=sweep.space,
        rungs=sweep.scheduler.rungs(sweep.steps),
        reference=reference,
        gpus=(told.workers or share.gpus) if on_gpu else 0.0,
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
    settled, plan = prepare(sweep, launch, share)
    plan = replace(plan, segment=segment)
    work, store = settled.work, open_store(settled.work.storage)
    answers = Answers(store, sweep.name)
    if "RAY_ADDRESS" not in os.environ:
        tune_process(work.launch.threads, 1)
        rehearse(work)
    with (
        connected(max(1, work.launch.workers), work.launch.chosen_device),
        Hold(Claims(store, sweep.name), work.owner, say),
    ):
        inscribe(store, settled)
        ledger = Ledger(answers, sweep.space, sweep.ranked_by, say)
        with tracking.open(sweep.name, settled.subject) as parent, StopSign(), _queue() as queue:
            for name, most in sweep.budget.items():
                parent.tag(f"jointdistill.budget.{name}", f"{most:g}")
            with Record(tracking, parent, collector(queue), say) as record:
                _search(sweep, plan, share, ledger, queue)
            report = Report(sweep, ledger.courses)
            report.write(parent)
            if failed := report.all_failed:
                raise Refusal(f"Every trial failed, the first one with: {failed}")
            if best := report.best:
                _register(record, best, launch, store, watch)
    return report


def _search(sweep: Sweep, plan: Plan, share: Share, ledger: Ledger, queue: Any) -> None:
    """Let Tune run the trials."""
    at_once = _at_once(plan, share, sweep.trials)
    os.environ.update(
        {
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
            "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed has no score
            "TUNE_DISABLE_SIGINT_HANDLER": "1",
            "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # its state is never read back; see answers.py
            "RAY_AIR_NEW_OUTPUT": "0",
            "TUNE_MAX_PENDING_TRIALS_PG": str(at_once),  # else Tune asks a searcher for many ahead
        }
    )
    from ray import tune

    # It would read back files that Tune keeps for others.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    search = Search(
        space=sweep.space,
        objectives=sweep.ranked_by,
        trials=sweep.trials,
        seed=sweep.seed,
        # Where trials wait for each other all of them are under way, and take turns.
        at_once=sweep.trials if sweep.scheduler.gathers else at_once,
        known=ledger.known(),
    )
    numbers = count()
    names: dict[str, str] = {}

    def named(trial: Any) -> str:
        if trial.trial_id not in names:
            names[trial.trial_id] = trial.custom_trial_name = f"{sweep.name}-{next(numbers):03d}"
            ledger.begin(trial)
        return names[trial.trial_id]

    trainable = tune.with_parameters(Trial, plan=plan, post=partial(_put, queue.actor))
    with tempfile.TemporaryDirectory(prefix="jd-tune-") as scratch, interruptible(), _refusing(ledger):
        tune.Tuner(
            tune.with_resources(trainable, _occupied(plan, share, at_once)),
            # Tune wants to see the knobs of points that are settled before.
            param_space={} if sweep.searcher.listens else dict.fromkeys(sweep.space),
            tune_config=tune.TuneConfig(
                search_alg=sweep.searcher.build(search),
                scheduler=sweep.scheduler.build(sweep.race),
                num_samples=sweep.searcher.trials(search),
                time_budget_s=sweep.hours * 3600 or None,
                reuse_actors=True,
                trial_name_creator=named,
                trial_dirname_creator=named,
            ),
            run_config=tune.RunConfig(
                name=sweep.name,
                storage_path=scratch,
                stop=Spent(sweep.gpu_hours, ledger),
                # A snapshot is kept at every rung; at the end, or after a failure, there is none to point at.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                callbacks=[ledger],
                verbose=0,
            ),
        ).fit()


@contextmanager
def _refusing(ledger: Ledger) -> Iterator[None]:
    """What was refused is raised as that, however Tune wraps it."""
    try:
        yield
    except Exception as wrapped:
        raise ledger.refused or wrapped from None


def _occupied(plan: Plan, share: Share, at_once: int) -> Any:
    """What Tune reserves for a trial. Where workers train it, they ask for their own; the trial itself sits
    beside the head then, which is never taken away, and has a share of it so that no more run at a time."""
    from ray import tune

    if plan.settled.work.launch.workers:
        return tune.PlacementGroupFactory([{"node:__internal_head__": int(1e4 / at_once) / 1e4}])
    gpu = {"GPU": share.gpus} if plan.gpus else {}
    return tune.PlacementGroupFactory([{"CPU": share.cpus, **gpu}])


def _at_once(plan: Plan, share: Share, trials: int) -> int:
    """How many trials run at a time: more would wait for each other's workers without end."""
    import ray

    launch = plan.settled.work.launch
    if autoscales():
        return share.at_once or trials
    kind = "GPU" if plan.gpus else "CPU"
    each = launch.workers or (share.gpus if plan.gpus else share.cpus)
    of_nodes = [node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]]
    # A trial in one process cannot lie across machines.
    there = sum(of_nodes) if launch.workers else max(of_nodes, default=0.0)
    if there < each:
        where = "the cluster" if launch.workers else "no machine of the cluster"
        has = f"has {there:g}" if launch.workers else f"has more than {there:g}"
        raise Refusal(
            f"A trial asks for {each:g} {kind}s and {where} {has}: lower --{kind.lower()}s or --workers, or "
            "add nodes."
        )
    room = sum(of_nodes) / each if launch.workers else sum(int(has / each) for has in of_nodes)
    return share.at_once or max(1, int(room))


@contextmanager
def _queue() -> Iterator[Any]:
    """What trials post into; beside the driver, since on a machine that is taken away nothing would come."""
    import ray
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    queue = Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})
    try:
        yield queue
    finally:
        queue.shutdown(force=True)


def _put(actor: Any, posted: Any) -> None:
    """Post. It waits at the end of a segment only: then all that was posted before has come, too."""
    import ray

    there = actor.put_nowait.remote(posted)
    if isinstance(posted, Paused):
        ray.get(there)


def _of_teachers(base: Settled, store: Store) -> dict[str, float]:
    """`task/metric` → the best score that a teacher says of itself."""
    tasks = base.work.tasks
    found: dict[str, float] = {}
    for recipe in base.work.experiment.heard.values():
        for name, score in recipe.build(tasks, store).card.scores.items():
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
