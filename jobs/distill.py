"""Distil several frozen teachers into one small student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jointdistill.data.sampling import Sampling
from jointdistill.distill.log_depth_l1 import LogDepthL1
from jointdistill.distill.tempered_kl import TemperedKL
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.command import carry_out, parse
from jointdistill.launch.show import show
from jointdistill.nets.joint import Joint
from jointdistill.place import Launch
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.teachers.registered import Registered
from jointdistill.weighting.competence import Competence
from jointdistill.weighting.equal import Equal
from jointdistill.weighting.none import LabelsOnly


def scenes() -> Experiment:
    """Streets and rooms: a depth and a segmentation teacher into one student of 0.20 M parameters.

    All of the images, 5 % of the labels. The teachers are those of `jobs/teach.py`.
    """
    return Experiment(
        name="scenes",
        tasks={"depth": Depth(), "segmentation": Segmentation()},
        student=Joint(width=12, decoder=32),
        teachers={
            "depth": Registered("models:/scenes-depth@champion"),
            "segmentation": Registered("models:/scenes-segmentation@champion"),
        },
        distil=(LogDepthL1(), TemperedKL()),
        weighting=Competence(),
        sampling=Sampling(batch=16, labelled=8, labels={"depth": 0.05, "segmentation": 0.05}),
        optimise=Optimise(steps=800, learning_rate=6e-3),
        floors={"depth/abs_rel": 0.5, "segmentation/miou": 0.1},
    )


def scenes_equal() -> Experiment:
    """The same with static equal weights on standardised losses."""
    return replace(scenes(), name="scenes-equal", weighting=Equal())


def scenes_few_labels() -> Experiment:
    """The same student from its 5 % of labels alone: what there is without teachers."""
    alone = Sampling(batch=8, labelled=8, labels={"depth": 0.05, "segmentation": 0.05}, hold_out=False)
    return _alone("scenes-few-labels", alone)


def scenes_all_labels() -> Experiment:
    """The same student from all labels: what teachers are meant to stand in for."""
    return _alone("scenes-all-labels", Sampling(batch=16, labelled=16, hold_out=False))


def _alone(name: str, sampling: Sampling) -> Experiment:
    return replace(
        scenes(), name=name, teachers={}, distil=(), floors={}, weighting=LabelsOnly(), sampling=sampling
    )


EXPERIMENTS = {
    "scenes": scenes,
    "scenes-equal": scenes_equal,
    "scenes-few-labels": scenes_few_labels,
    "scenes-all-labels": scenes_all_labels,
}


def main(arguments: Sequence[str]) -> None:
    """Distil, show how it goes, and print where the student lies."""
    show(parse(EXPERIMENTS, __doc__ or "", Launch(register="student"), arguments))


if __name__ == "__main__":
    carry_out(main)
