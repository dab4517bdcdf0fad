"""Search the knobs of an experiment: many trials, one best student, and what mattered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jobs.distill import scenes
from jointdistill.launch.command import carry_out
from jointdistill.place import Launch
from jointdistill.search.command import parse, show
from jointdistill.search.schedulers.asha import Asha
from jointdistill.search.schedulers.pbt import Pbt
from jointdistill.search.searchers.tpe import Tpe
from jointdistill.search.space import Choice, LogUniform
from jointdistill.search.sweep import Sweep


def weighting() -> Sweep:
    """How much of each teacher: Competence by direction, gain, temperature and gate."""
    return Sweep(
        name="weighting",
        base=scenes(),
        space={
            "weighting.direction": Choice(("catch-up", "ability-following")),
            "weighting.gain": LogUniform(0.25, 4.0),
            "weighting.temperature": LogUniform(0.25, 4.0),
            "weighting.gate": Choice((True, False)),
        },
        trials=16,
    )


def weighting_pareto() -> Sweep:
    """The same space by both tasks' headlines: what one of them costs the other."""
    return replace(
        weighting(),
        name="weighting-pareto",
        objectives=("segmentation/miou", "depth/abs_rel"),
        searcher=Tpe(),
    )


def weighting_schedule() -> Sweep:
    """Gain and temperature that move while students train: a population of eight."""
    return replace(
        weighting(),
        name="weighting-schedule",
        space={"weighting.gain": LogUniform(0.25, 4.0), "weighting.temperature": LogUniform(0.25, 4.0)},
        scheduler=Pbt(),
        trials=8,
    )


def student() -> Sweep:
    """Width and learning rate of the student, by halving.

    The rate is constant and the weights are averaged, so that a trial's score after part of its steps is
    that of a shorter run.
    """
    base = scenes()
    return Sweep(
        name="student",
        base=replace(base, optimise=replace(base.optimise, schedule="constant", ema=0.98)),
        space={"student.width": Choice((4, 8, 16, 32)), "optimise.learning_rate": LogUniform(1e-4, 1e-1)},
        scheduler=Asha(),
        trials=16,
    )


SWEEPS = {
    "weighting": weighting,
    "weighting-pareto": weighting_pareto,
    "weighting-schedule": weighting_schedule,
    "student": student,
}


def main(arguments: Sequence[str]) -> None:
    """Sweep, tell how it goes, and print what was best."""
    show(*parse(SWEEPS, __doc__ or "", Launch(), arguments))


if __name__ == "__main__":
    carry_out(main)
