"""One of two processes that want the same run: `python -m tests.faults.two_writers FOLDER BARRIER STEPS`.

It makes FOLDER/ready-PID, waits until the barrier's file is there, and makes FOLDER/training-PID once it
trains. It trains no further while there is a file FOLDER/hold.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.command import carry_out
from jointdistill.launch.run import run
from jointdistill.place import Launch
from jointdistill.types import StepReport
from tests.engine import small

RUN = "wanted"


def experiment(folder: Path, steps: int) -> Experiment:
    return replace(small.experiment(folder), optimise=Optimise(steps=steps, learning_rate=5e-3))


def launch(folder: Path, name: str = RUN) -> Launch:
    return replace(small.launch(folder), run=name, snapshot_every=20)


def main(arguments: Sequence[str]) -> None:
    """Run, and say how it ended."""
    folder, barrier, steps = Path(arguments[0]), Path(arguments[1]), int(arguments[2])

    def watch(message: object) -> None:
        if isinstance(message, StepReport):
            (folder / f"training-{os.getpid()}").touch()
            while (folder / "hold").exists():
                time.sleep(0.02)

    wanted, how = experiment(folder, steps), launch(folder)
    (folder / f"ready-{os.getpid()}").touch()
    while not barrier.exists():
        time.sleep(0.005)
    print(run(wanted, how, watch).digest)


if __name__ == "__main__":
    carry_out(main)
