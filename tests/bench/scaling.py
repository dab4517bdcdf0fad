"""How much of two cores two Ray Train workers use: beside them, processes that never talk to each other.

    python tests/bench/scaling.py --rounds 8

Three arms take turns, block by block, so that whatever else the machine does falls on all of them:

    together   the real job: two Ray Train workers of one thread, 16 images a step, 8 on each
    apart      two processes of one thread at the same time, 8 images a step on each, no communication
    one        one of these processes alone: 8 images a step

All of them train the demo's student on its live teachers, with the platform's engine; they live as long as
the bench, and each block begins with steps that do not count. The last line is JSON: `efficiency` is the
samples a second together over apart, `speedup` together over one, `headroom` apart over one, which no
way of working together can exceed; medians over rounds, with bootstrap intervals of 95 %.
`efficiency_processor` compares processor time an image instead: neighbours on the machine hardly touch it,
but it does not see how long one worker waits for the other.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

import demo_sized
import spread
from desk import Desk, Took

from jointdistill.data.sampling import Sampling
from jointdistill.engine.keeper import Ears
from jointdistill.engine.loop import Loop
from jointdistill.engine.ranks import Ranks
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch import train, worker
from jointdistill.launch.run import run
from jointdistill.launch.settle import settle
from jointdistill.launch.stop import StopSign
from jointdistill.launch.work import Message, Outcome, Work
from jointdistill.types import Batch

ARMS = {"one": ("alone-0",), "apart": ("alone-0", "alone-1"), "together": ("rank-0", "rank-1")}
"""Arm → who is at work, in the order of their turns."""
IMAGES = 8
"""Of each worker or process, a step."""
BLOCK, WARM_UP = 20, 4
"""Steps a turn, and how many of them come before the clock starts."""
END = "end"


class Rate(NamedTuple):
    """An arm in one round."""

    images_per_s: float
    processor_s_an_image: float

    @classmethod
    def of(cls, took: list[Took]) -> Rate:
        """From the blocks of all who were at work at the same time."""
        images = IMAGES * (BLOCK - WARM_UP)
        return cls(
            sum(images / one.wall for one in took), sum(one.processor for one in took) / len(took) / images
        )


# -- in the workers and processes ------------------------------------------------------------------------


def turns_of(who: str, rounds: int) -> list[str]:
    """The turns somebody takes part in."""
    return [f"{number}-{arm}" for number in range(rounds) for arm, names in ARMS.items() if who in names]


def steps_of(who: str, rounds: int) -> int:
    """Its blocks, and a last step after all is measured: what ends a run must not disturb the others."""
    return len(turns_of(who, rounds)) * BLOCK + 1


def in_turns(loop: Loop, who: str, rounds: int, desk: Desk) -> None:
    """Make a loop wait for its turn before each block of steps, and time the block."""
    stream = loop.loader.stream

    def batches(start: int, stop: int, *, pin: bool = False) -> Iterator[Batch]:
        for number, turn in enumerate(turns_of(who, rounds)):
            desk.wait(turn)
            began = Took.now()
            for place, batch in enumerate(stream(number * BLOCK, (number + 1) * BLOCK)):
                if place == WARM_UP:
                    began = Took.now()
                yield batch
            desk.hand_in(turn, who, Took.now().since(began))
        desk.wait(END)
        yield from stream(stop - 1, stop)

    loop.loader.stream = batches  # type: ignore[method-assign]


def build_in_turns(name: str, rounds: int, desk: Desk) -> Callable[..., Loop]:
    """`worker.build`, but the loop takes turns as NAME-RANK."""
    build = worker.build

    def built(work: Work, ranks: Ranks, say: Callable[[Message], None], ears: Ears) -> Loop:
        loop = build(work, ranks, say, ears)
        who = name if name.startswith("alone") else f"{name}-{ranks.rank}"
        in_turns(loop, who, rounds, desk)
        return loop

    return built


def on_ray(config: dict[str, Any]) -> Outcome | str | None:
    """The real worker, in turns."""
    desk = Desk(Path(config["work"].storage).parent / "turns")
    rounds = int((desk.folder / "rounds").read_text())
    with patch.object(worker, "build", build_in_turns("rank", rounds, desk)):
        return train._worker(config)


def alone(who: str, rounds: int, work: Work, folder: Path) -> None:
    """A process that trains by itself."""
    with patch.object(worker, "build", build_in_turns(who, rounds, Desk(folder))):
        train.train(work, lambda message: None, StopSign())


# -- in the driver ---------------------------------------------------------------------------------------


def conduct(rounds: int, desk: Desk, rates: dict[str, list[Rate]]) -> None:
    """Call the turns, and note each arm's images a second."""
    for number in range(rounds):
        for arm, who in ARMS.items():
            turn = f"{number}-{arm}"
            desk.call(turn)
            rates[arm].append(Rate.of(desk.collect(turn, who)))
        print(f"round {number}: " + said_of(number, rates), file=sys.stderr, flush=True)
    desk.call(END)


def said_of(number: int, rates: dict[str, list[Rate]]) -> str:
    """A round in words."""
    return ", ".join(f"{arm} {rate[number].images_per_s:.1f}" for arm, rate in rates.items()) + " images/s"


def measure(experiment: Experiment, folder: Path, rounds: int) -> dict[str, list[Rate]]:
    """Arm → images a second in each round."""
    desk = Desk(folder / "turns")
    desk.folder.mkdir()
    (desk.folder / "rounds").write_text(str(rounds))
    spawn, processes = get_context("spawn"), []
    half = Sampling(IMAGES, experiment.sampling.labelled // 2, experiment.sampling.labels)
    for who in ARMS["apart"]:
        mine = replace(experiment, name=who, sampling=half, optimise=Optimise(steps=steps_of(who, rounds)))
        work = settle(mine, demo_sized.launch(folder, workers=0)).work
        worker.decode(work)  # once, before both need it
        processes.append(spawn.Process(target=alone, args=(who, rounds, work, desk.folder)))
        processes[-1].start()
    rates: dict[str, list[Rate]] = {arm: [] for arm in ARMS}
    conductor = threading.Thread(target=conduct, args=(rounds, desk, rates), daemon=True)
    conductor.start()
    both = replace(experiment, optimise=Optimise(steps=steps_of("rank-0", rounds)))
    with patch.object(train, "_worker", on_ray):
        run(both, demo_sized.launch(folder, workers=2), lambda message: None)
    conductor.join()
    for process in processes:
        process.join()
    return rates


def main() -> None:
    """Measure, and print one JSON object."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=12, help="turns of each arm")
    asked = arguments.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory(prefix="jd-bench-") as folder:
        print("drawing", file=sys.stderr, flush=True)
        rates = measure(demo_sized.prepare(Path(folder)), Path(folder), asked.rounds)
    ratios = {
        "efficiency": ("together", "apart"),
        "speedup": ("together", "one"),
        "headroom": ("apart", "one"),
    }
    said: dict[str, Any] = {}
    for name, (above, below) in ratios.items():
        each = [a.images_per_s / b.images_per_s for a, b in zip(rates[above], rates[below], strict=True)]
        said |= {name: spread.median(each), f"{name}_ci": spread.interval(each)}
    pairs = zip(rates["apart"], rates["together"], strict=True)
    each = [a.processor_s_an_image / b.processor_s_an_image for a, b in pairs]
    said |= {"efficiency_processor": spread.median(each), "efficiency_processor_ci": spread.interval(each)}
    for arm, rate in rates.items():
        said[f"{arm}_images_per_s"] = round(spread.median([one.images_per_s for one in rate]), 1)
    said |= {
        "one_is": f"one process, one thread, {IMAGES} images a step: what each of two does in the other arms"
    }
    said |= {"rounds": asked.rounds, "cores": os.cpu_count(), "load_before": round(load, 1)}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
