"""Train a teacher: one task, all labels outside the feedback slice, a larger network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from jointdistill.data.sampling import Sampling
from jointdistill.engine.registry import champion
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.addresses import tracking_of
from jointdistill.launch.command import carry_out, parse
from jointdistill.launch.show import show
from jointdistill.launch.work import Outcome
from jointdistill.nets.joint import Joint
from jointdistill.place import Launch
from jointdistill.tasks.base import Task
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import Refusal
from jointdistill.weighting.none import LabelsOnly


def scenes_depth() -> Experiment:
    """Depth on streets and rooms, 0.7 M parameters."""
    return _teacher("scenes-depth", {"depth": Depth()})


def scenes_segmentation() -> Experiment:
    """24 classes on streets and rooms, 0.7 M parameters."""
    return _teacher("scenes-segmentation", {"segmentation": Segmentation()})


def _teacher(name: str, tasks: dict[str, Task]) -> Experiment:
    return Experiment(
        name=name,
        tasks=tasks,
        student=Joint(width=16, blocks=2, decoder=32),
        weighting=LabelsOnly(),
        sampling=Sampling(batch=16, labelled=16),
        optimise=Optimise(steps=800, learning_rate=4e-3),
        anchors=6,
    )


def refuse_others(teachers: Mapping[str, Outcome], launch: Launch) -> None:
    """Raises `Refusal` where a student that asks for `models:/NAME@champion` would not learn from the teacher
    whose outcome stands beside it: a table of both would not be true."""
    tracking = tracking_of(launch)
    for name, outcome in teachers.items():
        there = champion(name, tracking)
        if there is None or there.digest != outcome.digest:
            raise Refusal(
                f"models:/{name}@champion is another teacher than the one that was trained for this table: "
                "give --storage and --tracking of their own, or move the alias."
            )


EXPERIMENTS = {"scenes-depth": scenes_depth, "scenes-segmentation": scenes_segmentation}


def main(arguments: Sequence[str]) -> None:
    """Train the teacher and register it, under its experiment's name unless --register says another."""
    order = parse(EXPERIMENTS, __doc__ or "", Launch(), arguments)
    name = order.launch.register or order.experiment.name
    show(replace(order, launch=replace(order.launch, register=name)))


if __name__ == "__main__":
    carry_out(main)
