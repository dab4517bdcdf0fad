"""A run long enough to be interrupted: `python -m tests.launch.interrupted FOLDER WORKERS`."""

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jointdistill.experiment import Optimise
from jointdistill.launch.command import carry_out
from jointdistill.launch.run import run
from jointdistill.types import StepReport
from tests.engine import small


def main(arguments: Sequence[str]) -> None:
    """Run, and say so once training is under way."""
    folder = Path(arguments[0])
    experiment = replace(small.experiment(folder), optimise=Optimise(steps=100_000))

    def say(message: object) -> None:
        if isinstance(message, StepReport) and message.step >= 20:
            print("training", flush=True)

    run(experiment, replace(small.launch(folder), workers=int(arguments[1])), say)


if __name__ == "__main__":
    # Whoever starts the tests in the background of a shell makes their children deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    carry_out(main)
