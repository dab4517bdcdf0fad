"""The driver of a sweep, to be hurt: `python -m tests.faults.sweeping FOLDER [STEPS]`.

With other steps than 40, snapshots are kept at rungs only.

The last line says what the searcher knows at the end, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from jointdistill.launch.command import carry_out
from jointdistill.launch.work import Message, Note
from jointdistill.search.conduct import conduct
from jointdistill.search.schedulers.asha import Asha
from jointdistill.search.tuning import Share
from tests.engine import small
from tests.search import stub

NAME, TRIALS = "hurt", 8


def main(arguments: Sequence[str]) -> None:
    """Sweep, and tell each answer at once."""
    folder, steps = Path(arguments[0]), int([*arguments, "40"][1])
    sweep = stub.sweep(folder, NAME, trials=TRIALS, scheduler=Asha(steps // 4, 2))
    sweep = replace(sweep, base=replace(sweep.base, optimise=replace(sweep.base.optimise, steps=steps)))

    def watch(message: Message) -> None:
        if isinstance(message, Note):
            print(message.text, flush=True)

    launch = small.launch(folder)
    launch = launch if steps == 40 else replace(launch, snapshot_every=steps)
    report = conduct(sweep, launch, Share(), watch)
    print(json.dumps([[one.name, one.point, one.step] for one in report.courses]), flush=True)


if __name__ == "__main__":
    carry_out(main)
