"""The whole way in one go: data, two teachers, one student in four arms, a table.

Run by `make demo`. What is finished is found again, so a second call prints the table in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from jobs import distill, prepare, teach
from jointdistill.experiment import Experiment, Launch
from jointdistill.launch.addresses import storage_of, tracking_of
from jointdistill.launch.cluster import connected
from jointdistill.launch.command import carry_out
from jointdistill.launch.console import CONSOLE, Bar, table
from jointdistill.launch.run import run
from jointdistill.launch.work import Outcome

TEACHERS = {"depth teacher": teach.scenes_depth, "segmentation teacher": teach.scenes_segmentation}
ARMS = {
    "student, 5 % of labels alone": distill.scenes_few_labels,
    "student, static equal weights": distill.scenes_equal,
    "student, default weighting": distill.scenes,
    "student, all labels": distill.scenes_all_labels,
}
PUBLISHED = "student, default weighting"
"""The arm that is registered as `student`."""


@dataclass(frozen=True)
class Demo:
    """How the demo runs."""

    launch: Annotated[Launch, tyro.conf.arg(name="")] = Launch(workers=2)
    smoke: bool = False
    """A handful of steps on a handful of images, in a folder that is thrown away: does everything hold
    together?"""
    seed: int = 0


def main(arguments: Sequence[str]) -> None:
    """Run the demo and print its table."""
    demo = tyro.cli(Demo, description=__doc__, args=arguments)
    if demo.smoke:
        with smoke_launch(demo.launch) as launch:
            present(play(launch, demo.seed, steps=20), launch)
    else:
        present(play(demo.launch, demo.seed), demo.launch)
