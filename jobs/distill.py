"""Distil several frozen teachers into one small student."""

from __future__ import annotations

from collections.abc import Sequence

from jointdistill.data.loader import Sampling
from jointdistill.distill.log_depth_l1 import LogDepthL1
from jointdistill.distill.tempered_kl import TemperedKL
from jointdistill.experiment import Experiment, Launch, Optimise
from jointdistill.launch.command import carry_out, parse
from jointdistill.launch.show import show
from jointdistill.nets.joint import Joint
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.teachers.registered import Registered
from jointdistill.weighting.competence import Competence


def scenes() -> Experiment:
    """Streets and rooms: a depth and a segmentation teacher into one student of 0.19 M parameters.

    5 % of the labels, all of the images. The teachers are those of `jobs/teach.py`.
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
        optimise=Optimise(steps=800),
        floors={"depth/abs_rel": 0.5, "segmentation/miou": 0.1},
    )


EXPERIMENTS = {"scenes": scenes}


def main(arguments: Sequence[str]) -> None:
    """Distil, show how it goes, and print where the student lies."""
    show(parse(EXPERIMENTS, __doc__, Launch(register="student"), arguments))


if __name__ == "__main__":
    carry_out(main)
