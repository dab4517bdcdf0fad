"""Ray Tune's side of a sweep: what its trials occupy, how many run at a time, and the search itself."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jointdistill.launch.cluster import autoscales
from jointdistill.launch.stop import StopSign
from jointdistill.launch.train import interruptible
from jointdistill.search.actor import TrialActor
from jointdistill.search.ending import Ending
from jointdistill.search.ledger import Ledger
from jointdistill.search.plan import Plan
from jointdistill.search.postbox import Post
from jointdistill.search.searchers.base import Search
from jointdistill.search.sweep import Sweep
from jointdistill.types import Refusal

RESTARTS = 3
"""How often a trial begins again, from its last snapshot, after its process was lost."""

_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial that failed has no score
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # its state is never read back; see answers.py
    "RAY_AIR_NEW_OUTPUT": "0",
}


@dataclass(frozen=True)
class Share:
    """What a trial gets of the cluster."""

    cpus: float = 1.0
    """Cores of a trial that trains in one process; its threads, unless --threads says otherwise."""
    gpus: float = 1.0
    """GPUs of such a trial, on CUDA; a half lets two share one."""
    at_once: int = 0
    """Trials at a time; 0: as many as the cluster has room for, but no more than a quarter of all for a
    searcher that learns from them, such as tpe."""

    def __post_init__(self) -> None:
        if self.cpus <= 0 or self.gpus <= 0 or self.at_once < 0:
            raise Refusal("--cpus and --gpus must be above 0, and --at-once at least 0.")


def search(sweep: Sweep, plan: Plan, share: Share, ledger: Ledger, sign: StopSign, box: Any) -> None:
    """Let Tune run the trials. Raises `Stopped` where the sign asked for it."""
    at_once = _at_once(plan, share, most_at_once(sweep))
    os.environ.update({**_QUIET, "TUNE_MAX_PENDING_TRIALS_PG": str(at_once)})  # else it asks far ahead
    import ray
    from ray import tune

    # It would read back files that Tune keeps for others.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    told = Search(
        space=sweep.space,
        objectives=sweep.ranked_by,
        trials=sweep.trials,
        seed=sweep.seed,
        # Where trials wait for each other all of them are under way, and take turns.
        at_once=sweep.trials if sweep.scheduler.gathers else at_once,
        known=ledger.known(),
    )
    names: dict[str, str] = {}

    def named(trial: Any) -> str:
        if trial.trial_id not in names:
            names[trial.trial_id] = trial.custom_trial_name = f"{sweep.name}-{len(names):03d}"
            ledger.begin(trial)
        return names[trial.trial_id]

    trainable = tune.with_parameters(TrialActor, plan=[ray.put(plan)], post=Post(box))
    ending = Ending(sweep, plan.gpus, ledger, sign, box)
    scratch = tempfile.TemporaryDirectory(prefix="jd-tune-")
    with scratch as folder, interruptible(), ending.in_words(), sign.heard():
        tune.Tuner(
            tune.with_resources(trainable, _occupied(plan, share, at_once)),
            # Tune wants to see the knobs of points that are settled before.
            param_space={} if sweep.searcher.listens else dict.fromkeys(sweep.space),
            tune_config=tune.TuneConfig(
                search_alg=sweep.searcher.build(told),
                scheduler=sweep.scheduler.build(sweep.race),
                num_samples=sweep.searcher.trials(told),
                reuse_actors=True,
                trial_name_creator=named,
                trial_dirname_creator=named,
            ),
            run_config=tune.RunConfig(
                name=sweep.name,
                storage_path=folder,
                stop=ending,
                # A snapshot is kept at every rung; at the end, or after a failure, there is none to point at.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=RESTARTS),
                callbacks=[ledger, ending],
                verbose=0,
            ),
        ).fit()


def _occupied(plan: Plan, share: Share, at_once: int) -> Any:
    """What Tune reserves for a trial. Where workers train it, they ask for their own; the trial itself sits
    beside the head then, which is never taken away, and has a share of it so that no more run at a time; a
    tenth is left to Ray Train, which keeps something there as well and would wait for it without a word."""
    from ray import tune

    if plan.settled.work.launch.workers:
        return tune.PlacementGroupFactory([{"node:__internal_head__": int(9e3 / at_once) / 1e4}])
    gpu = {"GPU": share.gpus} if plan.gpus else {}
    return tune.PlacementGroupFactory([{"CPU": share.cpus, **gpu}])


def room(plan: Plan, share: Share, of_nodes: Sequence[float]) -> int:
    """How many trials machines with so many GPUs each, or without GPUs so many CPUs, have room for."""
    each = _each(plan, share)
    if plan.settled.work.launch.workers:
        return int(sum(of_nodes) / each)
    return sum(int(has / each) for has in of_nodes)  # a trial in one process cannot lie across machines


def _each(plan: Plan, share: Share) -> float:
    return plan.settled.work.launch.workers or (share.gpus if plan.gpus else share.cpus)


def most_at_once(sweep: Sweep) -> int:
    """All trials, unless the searcher learns from those that have ended: then a quarter of them."""
    return max(1, sweep.trials // 4) if sweep.searcher.listens else sweep.trials


def _at_once(plan: Plan, share: Share, most: int) -> int:
    """How many trials run at a time: more would wait for each other's workers without end."""
    import ray

    if autoscales():
        return share.at_once or most
    kind = "GPU" if plan.gpus else "CPU"
    of_nodes = [node["Resources"].get(kind, 0.0) for node in ray.nodes() if node["Alive"]]
    there = room(plan, share, of_nodes)
    if not there:
        if plan.settled.work.launch.workers:
            have = f"the cluster has {sum(of_nodes):g}"
        else:
            have = f"no machine of the cluster has more than {max(of_nodes, default=0.0):g}"
        raise Refusal(
            f"A trial asks for {_each(plan, share):g} {kind}s and {have}: lower --{kind.lower()}s or "
            "--workers, or add nodes."
        )
    return share.at_once or min(there, most)
