"""The whole way in one go: data, two teachers, one student in four arms, a table.

What is finished is found again, so a second call prints the table in seconds. Run it as `make demo`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import tyro

from jobs import distill, prepare, teach
from jointdistill.experiment import Experiment
from jointdistill.launch.addresses import storage_of, tracking_of
from jointdistill.launch.cluster import connected
from jointdistill.launch.command import carry_out, fill
from jointdistill.launch.console import CONSOLE, Bar, table
from jointdistill.launch.prepare import DataOrder
from jointdistill.launch.prepare import prepare as draw
from jointdistill.launch.run import run
from jointdistill.launch.work import Outcome
from jointdistill.place import Launch
from jointdistill.store.registry import redacted
from jointdistill.types import Refusal

TEACHERS = {"depth teacher": teach.scenes_depth, "segmentation teacher": teach.scenes_segmentation}
ARMS = {
    "student, 5 % labels alone": distill.scenes_few_labels,
    "student, equal weights": distill.scenes_equal,
    "student, default": distill.scenes,
    "student, all labels": distill.scenes_all_labels,
}
PUBLISHED = "student, default"
"""The arm that is registered as `student`."""


@dataclass(frozen=True)
class Demo:
    """How the demo runs."""

    launch: Annotated[Launch, tyro.conf.arg(name="")] = field(
        default_factory=lambda: Launch(workers=2, device="cpu")
    )
    smoke: bool = False
    """A handful of steps on a handful of images, in a folder that is thrown away: does it all hold
    together?"""


def main(arguments: Sequence[str]) -> None:
    """Run the demo and print its table."""
    demo = fill(Demo(), __doc__ or "", arguments)
    if demo.smoke:
        with thrown_away(demo.launch) as launch:
            play(launch, smoke=True)
    else:
        play(demo.launch)


def play(launch: Launch, *, smoke: bool = False) -> None:
    """Prepare, teach, distil; then show the table and say where everything lies."""
    summary = Path("summary.json") if not smoke else Path(launch.storage) / "summary.json"
    if not os.access(summary.parent.resolve(), os.W_OK) and not smoke:
        raise Refusal(f"{summary} cannot be written here: run the demo from a folder that is yours.")
    scenes = prepare.scenes()
    if smoke:
        scenes = replace(scenes, splits={"train": 64, "val": 16})
    draw(DataOrder(scenes, storage=launch.storage))
    rows: dict[str, Outcome] = {}

    def train(title: str, experiment: Experiment, register: str) -> None:
        if smoke:
            experiment = shrunk(experiment)
        # A start of Ray's workers takes longer than twenty steps: the smoke test pays for one.
        workers = launch.workers if not smoke or title == PUBLISHED else 0
        with Bar(title, experiment.optimise.steps) as bar:
            rows[title] = run(experiment, replace(launch, register=register, workers=workers), bar)

    with connected(launch.workers, launch.chosen_device):
        names = {title: make().name for title, make in TEACHERS.items()}
        for title, make in TEACHERS.items():
            train(title, make(), register=names[title])
        teach.refuse_others({name: rows[title] for title, name in names.items()}, launch)
        for title, make in ARMS.items():
            train(title, make(), register="student" if title == PUBLISHED else "")
    shown = [(title, outcome.row) for title, outcome in rows.items()]
    CONSOLE.print(table("Validation split", shown, distill.scenes().tasks))
    summary.write_text(json.dumps({title: outcome.plain() for title, outcome in rows.items()}, indent=2))
    mlflow = os.path.relpath(Path(sys.executable).with_name("mlflow"))
    CONSOLE.print(
        f"The same as JSON: {summary}. Curves, pictures and models, at http://127.0.0.1:5000:\n"
        f"  {mlflow} ui --backend-store-uri {redacted(tracking_of(launch))}\n"
        f"Storage: {storage_of(launch.storage)}",
        soft_wrap=True,
    )


def shrunk(experiment: Experiment) -> Experiment:
    """The experiment with a handful of steps, and floors that a handful of steps reaches."""
    sampling = replace(experiment.sampling, labels=dict.fromkeys(experiment.sampling.labels, 0.3))
    optimise = replace(experiment.optimise, steps=20)
    return replace(experiment, optimise=optimise, sampling=sampling, floors={}, anchors=0)


@contextmanager
def thrown_away(launch: Launch) -> Iterator[Launch]:
    """The launch with everything it writes in a folder that lasts as long as the block."""
    with TemporaryDirectory(prefix="jd-smoke-") as folder:
        yield replace(
            launch,
            storage=f"{folder}/storage",
            tracking=f"sqlite:///{folder}/mlflow.db",
            cache=f"{folder}/cache",
        )


if __name__ == "__main__":
    carry_out(main)
