"""What the start of a trial costs, in a process of its own and on workers, beside Ray Train's own start.

    python tests/bench/trial.py --rounds 3

A round is a sweep of four trials with the demo's student, two at a time, of which the first two begin in new
processes and the others in those; a sweep of two trials on two Ray Train workers each, one after the other,
of which the second begins in the process of the first; and two Ray Train workers that only import torch.

The last line is JSON, medians of seconds with all that were measured:

    new_s           from Tune's order to the first step in a new process (target: at most 4)
    used_s          the same in a process that had a trial before (target: at most 4)
    workers_new_s   from Tune's order to the first step of a trial on two workers
    workers_used_s  the same in a process that had a trial before
    train_s         from a plain trainer's `fit` to a function that runs in its workers
    extra_s         workers_used_s - train_s, by rounds (target: at most 1)
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import demo_sized
import restart
from bystander import END
from diary import Diary

from jointdistill.engine.keeper import Ears
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.cluster import connected
from jointdistill.launch.stop import StopSign
from jointdistill.launch.work import Message, Outcome, Work
from jointdistill.search.conduct import conduct
from jointdistill.search.ledger import Ledger
from jointdistill.search.plan import Segment
from jointdistill.search.space import Uniform
from jointdistill.search.sweep import Sweep
from jointdistill.search.tuning import Share

WORKERS = 2
REFERENCE = {"depth/abs_rel": 0.3, "segmentation/miou": 0.3}
"""Any will do: nothing is chosen by it."""


def main() -> None:
    """Measure, and print one JSON object."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=3)
    asked = arguments.parse_args()
    load = os.getloadavg()[0]
    took: dict[str, list[float]] = {}
    with TemporaryDirectory(prefix="jd-bench-") as name:
        folder = Path(name)
        print("drawing", file=sys.stderr, flush=True)
        experiment = replace(demo_sized.prepare(folder), optimise=Optimise(steps=4))
        with connected(WORKERS, "cpu"):
            for number in range(asked.rounds):
                alone = trials(experiment, folder, f"alone-{number}", 4, 0)
                wide = trials(experiment, folder, f"wide-{number}", 2, WORKERS)
                plain = start_of_bystanders(restart.diary_in(folder, f"plain-{number}"))
                for kind, times in {
                    "new_s": alone[:2],
                    "used_s": alone[2:],
                    "workers_new_s": wide[:1],
                    "workers_used_s": wide[1:],
                    "train_s": [plain],
                    "extra_s": [wide[1] - plain],
                }.items():
                    took.setdefault(kind, []).extend(times)
                print(f"round {number}: {alone}, {wide}, {plain}", file=sys.stderr, flush=True)
    said = {kind: round(median(times), 2) for kind, times in took.items()}
    every = {f"{kind}_all": [round(one, 2) for one in times] for kind, times in took.items()}
    print(json.dumps({**said, **every, "cores": os.cpu_count(), "load_before": round(load, 1)}))


def trials(experiment: Experiment, folder: Path, name: str, number: int, workers: int) -> list[float]:
    """Seconds that the trials of a sweep took to their first step, in the order in which they began."""
    diary = restart.diary_in(folder, name)
    sweep = Sweep(name, experiment, {"weighting.gain": Uniform(0.5, 2.0)}, trials=number, reference=REFERENCE)
    thought_of, began = Ledger.begin, Ledger.on_trial_start

    def begin(ledger: Ledger, trial: Any) -> None:
        thought_of(ledger, trial)
        diary.write(0, f"ordered {trial}")

    def on_trial_start(ledger: Ledger, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        diary.write(0, f"started {trial}")
        began(ledger, iteration, trials, trial, **info)

    launch = demo_sized.launch(folder, workers)
    with patch.object(Ledger, "begin", begin), patch.object(Ledger, "on_trial_start", on_trial_start):
        conduct(sweep, launch, Share(), lambda message: None, told(str(diary.folder)))
    at: dict[str, float] = {}
    for line in diary.lines():
        at.setdefault(line.what, line.at)
    slots = 1 if workers else 2
    runs = [f"{name}-{each:03d}" for each in range(number)]
    # A trial in a new process has started, for Tune, once that process is there; one in a used process is
    # ordered ahead of its time.
    return [
        at[f"step {run}"] - at[f"{'ordered' if place < slots else 'started'} {run}"]
        for place, run in enumerate(runs)
    ]


def told(folder: str) -> Segment:
    """The segment of a real trial, which tells its steps; a closure travels to Ray by value."""

    def segment(work: Work, receive: Callable[[Message], None], sign: StopSign) -> Outcome | None:
        from functools import partial
        from pathlib import Path
        from unittest.mock import patch

        from bystander import tell_steps
        from diary import Diary

        from jointdistill.launch import train, worker
        from jointdistill.search.trial import on_workers

        if work.launch.workers:
            told = partial(tell_steps, folder, work.run)
            with patch.object(train, "_worker", told):
                return on_workers(work, receive, sign)
        live, diary = worker.live, Diary(Path(folder))

        def heard(work: Work, send: Any, ears: Ears) -> Any:
            alive = lambda step: diary.write(0, f"step {work.run}", step)  # noqa: E731
            return live(work, send, replace(ears, alive=alive))

        with patch.object(worker, "live", heard):
            return on_workers(work, receive, sign)

    return segment


def start_of_bystanders(diary: Diary) -> float:
    """From the order of a plain run to a function that runs in its second worker."""
    found: list[float] = []
    ordered = time.monotonic()

    def see() -> None:
        diary.first("running", lambda line: line.rank == 0)
        found.append(diary.first("running", lambda line: line.rank == 1).at - ordered)
        (diary.folder / END).touch()

    with restart.meanwhile(see):
        restart.stand_by_until_done(diary)
    return found[0]


if __name__ == "__main__":
    main()
