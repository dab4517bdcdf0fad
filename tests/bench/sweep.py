"""What a sweep saves: successive halving and a population beside random search, on the demo's data.

16 configurations: of the student (width, learning rate), of the weighting (direction, gain, temperature), or
of both (gain, learning rate); three seeds of the student:

    random   every configuration to its end: the best there is to find
    asha     the same 16 configurations, of which half goes on at each rung
    pbt      16 members of equal total cost, whose knobs move: does a schedule beat the best fixed setting?

All of them judge by Δm on the validation split. Sweeps that are finished in the storage are not run again,
so an interrupted bench goes on where it stopped.

    python tests/bench/sweep.py

The last line is JSON:

    step_ratio      training steps of asha over those of random, the mean over seeds (target: at most 1/3)
    miou_lost       points of mIoU by which asha's best is below random's; a value a seed (at most 0.5)
    abs_rel_lost    by which share its AbsRel is above; a value a seed (at most 0.01)
    asha_lost       the same in Δm; a value a seed
    chance_lost     the same for as many whole trials, drawn at random, as asha's steps pay for: the mean over
                    all draws; a value a seed
    pbt_gain        Δm of pbt's best minus that of random's best; a value a seed
    foretold        Spearman's correlation of the 16 Δm after a share of the steps with those at the end, in
                    random's trials; the mean over seeds: where a rung is worth something
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import pandas as pd
from gain import taught

from jobs import distill, prepare
from jointdistill.launch.prepare import DataOrder
from jointdistill.launch.prepare import prepare as draw
from jointdistill.launch.work import Message, Note
from jointdistill.place import Launch
from jointdistill.search.conduct import conduct
from jointdistill.search.report import Report
from jointdistill.search.schedulers.asha import Asha
from jointdistill.search.schedulers.base import SchedulerRecipe
from jointdistill.search.schedulers.fifo import Fifo
from jointdistill.search.schedulers.pbt import Pbt
from jointdistill.search.space import Choice
from jointdistill.search.sweep import Sweep
from jointdistill.search.tuning import Share
from jointdistill.weighting.competence import Competence

SPACES = {
    "weighting": {
        "weighting.direction": Choice(("catch-up", "ability-following")),
        "weighting.gain": Choice((0.25, 0.63, 1.6, 4.0)),
        "weighting.temperature": Choice((0.25, 4.0)),
    },
    "learning-rate": {
        "weighting.gain": Choice((0.5, 1.0, 2.0, 4.0)),
        "optimise.learning_rate": Choice((3e-4, 1e-3, 3e-3, 1e-2)),
    },
    "student": {
        "student.width": Choice((4, 8, 16, 32)),
        "optimise.learning_rate": Choice((1e-4, 1e-3, 1e-2, 1e-1)),
    },
}
JUDGED = 8
ARMS: dict[str, SchedulerRecipe] = {"random": Fifo(JUDGED), "asha": Asha(), "pbt": Pbt()}


def main() -> None:
    """Run the sweeps one after the other, and print what they say."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--steps", type=int, default=640, help="of a whole trial")
    arguments.add_argument("--space", choices=[*SPACES], default="student")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    arguments.add_argument("--schedule", choices=["cosine", "constant"], default="constant")
    arguments.add_argument("--ema", type=float, default=0.98, help="of the student, which is then judged")
    arguments.add_argument("--teacher-steps", type=int, default=800)
    arguments.add_argument("--arms", nargs="+", choices=[*ARMS], default=["random", "asha"])
    arguments.add_argument("--gpus", type=float, default=1.0, help="of a trial, where there is a GPU")
    asked = arguments.parse_args()
    draw(DataOrder(prepare.scenes()))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        taught(pool, asked.teacher_steps)
    found = {(arm, seed): go(arm, seed, asked) for seed in asked.seeds for arm in asked.arms}
    seeds = asked.seeds
    said: dict[str, Any] = {"space": asked.space, "steps": asked.steps, "trials": 16}
    if {"random", "asha"} <= {*asked.arms}:
        ratios = [found["asha", seed].steps_trained / found["random", seed].steps_trained for seed in seeds]
        said |= {
            "step_ratio": round(statistics.mean(ratios), 4),
            "step_ratio_all": [round(ratio, 4) for ratio in ratios],
            "miou_lost": [
                round(100 * -gap(found, "asha", seed, "segmentation/miou"), 3) + 0.0 for seed in seeds
            ],
            "abs_rel_lost": [
                round(
                    gap(found, "asha", seed, "depth/abs_rel") / value(found["random", seed], "depth/abs_rel"),
                    4,
                )
                for seed in seeds
            ],
        }
        said |= {
            "asha_lost": [round(-gap(found, "asha", seed, "delta_m"), 4) + 0.0 for seed in seeds],
            "chance_lost": [
                round(chance_lost(found["random", seed], found["asha", seed].steps_trained), 4)
                for seed in seeds
            ],
        }
    if "random" in asked.arms:
        said["foretold"] = foretold([found["random", seed] for seed in seeds])
    if {"random", "pbt"} <= {*asked.arms}:
        said["pbt_gain"] = [round(gap(found, "pbt", seed, "delta_m"), 4) for seed in seeds]
    print(json.dumps(said))


def go(arm: str, seed: int, asked: argparse.Namespace) -> Report:
    """One sweep, or what it found."""
    made = distill.scenes()
    optimise = replace(made.optimise, steps=asked.steps, ema=asked.ema, schedule=asked.schedule)
    # Uniform for an eighth of the run, as in the 800 steps of the experiment.
    weighting = Competence(warmup_steps=asked.steps // 8)
    base = replace(made, seed=seed, optimise=optimise, weighting=weighting, floors={})
    name = f"bench-{asked.space}-{asked.schedule}-{arm}-{asked.steps}-{seed}"
    sweep = Sweep(name, base, SPACES[asked.space], scheduler=ARMS[arm], trials=16, seed=seed)

    def say(message: Message) -> None:
        if isinstance(message, Note):
            print(f"  {message.text}", file=sys.stderr, flush=True)

    report = conduct(sweep, Launch(workers=0, threads=1), Share(gpus=asked.gpus), say)
    best = report.best
    assert best is not None
    end = best.curve[asked.steps]
    miou, abs_rel = 100 * end["segmentation/miou"], end["depth/abs_rel"]
    print(f"{name}: {report.steps_trained} steps; best {best.point}", flush=True)
    print(f"    mIoU {miou:.2f}, AbsRel {abs_rel:.4f}, Δm {end['delta_m']:+.4f}", flush=True)
    return report


def foretold(reports: list[Report]) -> dict[str, float]:
    """Share of the steps → correlation of the ranks then with those at the end."""
    found: dict[str, list[float]] = {f"{part}/{JUDGED}": [] for part in range(1, JUDGED)}
    for report in reports:
        table = pd.DataFrame(
            [{step: row["delta_m"] for step, row in course.curve.items()} for course in report.courses]
        )
        ranks = table.sort_index(axis=1).corr(method="spearman")
        for share, correlation in zip(found, ranks.iloc[:, -1], strict=False):
            found[share].append(correlation)
    return {share: round(statistics.mean(of_seeds), 3) for share, of_seeds in found.items()}


def chance_lost(report: Report, steps: int) -> float:
    """Mean Δm by which the best of as many trials as the steps pay for is below the best of all."""
    ends = sorted((course.curve[course.step]["delta_m"] for course in report.courses), reverse=True)
    paid = steps // report.sweep.steps
    draws = math.comb(len(ends), paid)
    # The trial of this rank is the best of so many draws.
    shares = [math.comb(len(ends) - rank, paid - 1) / draws for rank in range(1, len(ends) + 1)]
    return ends[0] - sum(share * end for share, end in zip(shares, ends, strict=True))


def gap(found: dict[tuple[str, int], Report], arm: str, seed: int, name: str) -> float:
    """By how much the best student of an arm has more of a score than that of random search."""
    return value(found[arm, seed], name) - value(found["random", seed], name)


def value(report: Report, name: str) -> float:
    """A score of the best student of a sweep."""
    best = report.best
    assert best is not None
    return best.curve[best.step][name]


if __name__ == "__main__":
    began_at = time.monotonic()
    main()
    print(f"{(time.monotonic() - began_at) / 60:.1f} min", file=sys.stderr)
