"""What a sweep would be: its space, its trials, and what they would cost, from a few real steps."""

from __future__ import annotations

from dataclasses import replace

import torch
from rich.table import Table

from jointdistill.cores import cores
from jointdistill.launch.plan import probe
from jointdistill.place import Launch
from jointdistill.recipe import describe
from jointdistill.search.conduct import prepare
from jointdistill.search.searchers.base import Search
from jointdistill.search.sweep import Sweep
from jointdistill.search.tuning import Share, most_at_once, room

PROBED = 20
"""Steps that are tried."""


def estimate(sweep: Sweep, launch: Launch, share: Share) -> Table:
    """The sweep as a table. It trains a few steps of the base experiment that are thrown away.

    Raises `Refusal` for all bad input that the sweep itself would refuse before its first trial.
    """
    settled, plan = prepare(sweep, launch, share)
    work = plan.settled.work
    step_s = probe(work, replace(work.launch, device=launch.device), PROBED).step_s
    trials = sweep.searcher.trials(Search(sweep.space, sweep.ranked_by, sweep.trials, sweep.seed))
    steps = sweep.scheduler.expected_steps(sweep.steps, trials)
    there = torch.cuda.device_count() if plan.gpus else cores()
    at_once = min(trials, share.at_once or min(most_at_once(sweep), max(1, room(plan, share, [there]))))
    hours = steps * step_s / 3600
    longest = max(steps / at_once, sweep.steps) * step_s  # the best one takes all of its steps
    rows = {
        "sweep": sweep.name,
        "identity": settled.subject.identity,
        **{f"  {knob}": str(describe(values)) for knob, values in sweep.space.items()},
        "objectives": ", ".join(f"{each.name} ({each.mode})" for each in sweep.ranked_by),
        "searcher": type(sweep.searcher).__name__,
        "scheduler": f"{type(sweep.scheduler).__name__}, at steps {', '.join(map(str, plan.rungs))}",
        "trials": str(trials),
        "steps": f"about {steps:.0f} of all trials, {sweep.steps} of a whole one",
        "time": f"about {step_s * 1e3:.0f} ms a step, {60 * hours:.1f} min of training, "
        f"{longest / 60:.1f} min with {at_once} trials at once as on this machine",
        "GPU-hours": f"about {hours * plan.gpus:.2f}" if plan.gpus else "none",
    }
    shown = Table(show_header=False, title=f"{sweep.name}: what would run", title_justify="left")
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown
