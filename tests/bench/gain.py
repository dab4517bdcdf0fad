"""What teachers are worth: the demo's student with and without them, from 5 % of the labels.

Paired seeds: both arms start from the same weights, take the same number of steps and have as many labelled
slots. The arm without teachers trains on the whole budget, since it has no use for a feedback slice. Runs
that are finished in the storage are not run again, so an interrupted bench goes on where it stopped.

    python tests/bench/gain.py --steps 2500 --seeds 5
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from jobs import distill, prepare, teach
from jointdistill.experiment import Experiment
from jointdistill.launch.prepare import DataOrder
from jointdistill.launch.prepare import prepare as draw
from jointdistill.launch.run import run
from jointdistill.launch.work import Outcome
from jointdistill.place import Launch
from jointdistill.types import StepReport

ARMS = {"with": distill.scenes, "without": distill.scenes_few_labels}
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Student's t by the number of pairs: five pairs are too few for a bootstrap."""


def trained(experiment: Experiment, register: str = "") -> Outcome:
    """What an experiment comes to on one thread in this process; a finished run is found again."""

    def say(message: object) -> None:
        if isinstance(message, StepReport) and message.step % 200 == 0:
            print(
                f"  {experiment.name} seed {experiment.seed}: step {message.step}",
                file=sys.stderr,
                flush=True,
            )

    launch = Launch(workers=0, threads=1, report_every=200, snapshot_every=500, register=register)
    return run(experiment, launch, say)


def taught(pool: Executor, steps: int) -> dict[str, Outcome]:
    """The demo's two teachers, trained for so long, side by side: name → outcome.

    Raises `Refusal` where students would learn from others.
    """
    teachers = [make() for make in (teach.scenes_depth, teach.scenes_segmentation)]
    teachers = [replace(t, optimise=replace(t.optimise, steps=steps)) for t in teachers]
    names = [teacher.name for teacher in teachers]
    found = dict(zip(names, pool.map(trained, teachers, names), strict=True))
    teach.refuse_others(found, Launch())
    return found


def interval(differences: Sequence[float]) -> list[float]:
    """95 % interval of the mean of paired differences."""
    half = T_95[len(differences)] * statistics.stdev(differences) / math.sqrt(len(differences))
    mean = statistics.mean(differences)
    return [round(mean - half, 4), round(mean + half, 4)]


def main() -> None:
    """Run the pairs, two at a time, and print what they say."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=2500)
    arguments.add_argument("--seeds", type=int, default=5, choices=sorted(T_95))
    # Longer than the demo's: a teacher of 800 steps knows hardly more than a student of 1500 on 75 labels.
    arguments.add_argument("--teacher-steps", type=int, default=4000)
    asked = arguments.parse_args()

    draw(DataOrder(prepare.scenes()))
    pairs = [(arm, seed) for seed in range(asked.seeds) for arm in ARMS]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for name, outcome in taught(pool, asked.teacher_steps).items():
            print(name, {metric: round(value, 3) for metric, value in outcome.scores.items()})
        experiments = [
            replace(made, seed=seed, optimise=replace(made.optimise, steps=asked.steps))
            for arm, seed in pairs
            for made in [ARMS[arm]()]
        ]
        outcomes = pool.map(trained, experiments)
        scores = {pair: outcome.scores for pair, outcome in zip(pairs, outcomes, strict=True)}

    gains, drops = [], []
    for seed in range(asked.seeds):
        helped, alone = scores["with", seed], scores["without", seed]
        gains.append(100 * (helped["segmentation/miou"] - alone["segmentation/miou"]))
        drops.append(1 - helped["depth/abs_rel"] / alone["depth/abs_rel"])
        print(
            f"seed {seed}: mIoU {100 * alone['segmentation/miou']:.1f} → "
            f"{100 * helped['segmentation/miou']:.1f}, "
            f"AbsRel {alone['depth/abs_rel']:.3f} → {helped['depth/abs_rel']:.3f}"
        )
    said = {
        "miou_gain": round(statistics.mean(gains), 3),
        "miou_gain_ci": interval(gains),
        "abs_rel_drop": round(statistics.mean(drops), 4),
        "abs_rel_drop_ci": interval(drops),
        "seeds": asked.seeds,
        "steps": asked.steps,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
