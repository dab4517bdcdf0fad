"""What one rank holds while it trains, put together from an experiment."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from jointdistill.data.augment import Augment
from jointdistill.engine import rng
from jointdistill.engine.objective import Objective
from jointdistill.engine.optimise import Average, build_optimiser, build_schedule
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.sharding import spread
from jointdistill.engine.stopwatch import Stopwatch
from jointdistill.experiment import Experiment
from jointdistill.nets.joint import JointNet
from jointdistill.place import Launch
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher
from jointdistill.trajectory.base import Trajectory
from jointdistill.types import Refusal, Stats, Term
from jointdistill.weighting.base import Need, Weighting

SERVED = frozenset({Need.GRAM, Need.FEEDBACK, Need.TEACHER_LOSS})
"""What the engine gives a weighting that asks for it."""


@dataclass
class Parts:
    """The parts of a running experiment on one rank."""

    experiment: Experiment
    tasks: Mapping[str, Task]
    ranks: Ranks
    augment: Augment
    teachers: Mapping[str, Teacher]
    """Frozen: they stand outside the snapshot, which names them by digest."""
    network: JointNet
    """The student itself …"""
    student: nn.Module
    """… and as it lies on the ranks."""
    objective: Objective
    weighting: Weighting
    trajectory: tuple[Trajectory, ...]
    optimiser: Optimizer
    schedule: LambdaLR
    average: Average | None
    micro_batch: int
    stats: Stats = field(default_factory=Stats)
    step: int = 0
    """Optimiser steps done."""

    def __post_init__(self) -> None:
        self.asking = Stopwatch(self.ranks.device)
        """How long teachers are asked."""

    @property
    def beside(self) -> list[nn.Parameter]:
        """What is trained beside the student (connectors, a weighting's own): a replica on every rank."""
        return [*self.objective.parameters(), *self.weighting.parameters()]

    def stand_at(self, step: int) -> None:
        """Stand where a run stands after so many steps; the schedule is a function of the step."""
        self.step = step
        self.schedule.last_epoch = step - 1
        self.optimiser.zero_grad()
        with warnings.catch_warnings():
            # torch takes a schedule that steps before its optimiser for a mistake.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
            self.schedule.step()

    @contextmanager
    def as_exported(self) -> Iterator[None]:
        """The student as it would be exported: its average where one is kept, in evaluation mode."""
        self.student.eval()
        if self.average:
            self.average.swap()
        try:
            yield
        finally:
            if self.average:
                self.average.swap()
            self.student.train()

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of the forward pass."""
        bfloat16 = self.experiment.optimise.precision == "bfloat16"
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=bfloat16)


def assemble(
    experiment: Experiment,
    launch: Launch,
    ranks: Ranks,
    tasks: Mapping[str, Task],
    labelled: Sequence[str],
    teachers: Mapping[str, Teacher],
) -> Parts:
    """Build a rank's parts; the trajectory joins later, once its records are known.

    `tasks` are the experiment's as the data set describes them, `labelled` those with labels to train on.
    Every rank draws the same first weights.
    """
    torch.manual_seed(experiment.seed)
    network = experiment.student.build(tasks)
    objective = Objective(tasks, labelled, experiment.distil, network.channels, teachers).to(ranks.device)
    weighting = experiment.weighting.build(objective.terms)
    if Need.GRAM in weighting.needs and launch.micro_batch:
        raise Refusal(
            f"{type(experiment.weighting).__name__} compares gradients over the whole batch: leave out "
            "--micro-batch."
        )
    for need in weighting.needs - SERVED:
        raise Refusal(
            f"{type(experiment.weighting).__name__} needs {need.value}, which the engine does not serve yet."
        )
    for parameter in weighting.parameters():
        parameter.data = parameter.data.to(ranks.device)
    student = spread(network, ranks, launch.sharding)
    if launch.compile:
        student.compile()
    rng.begin(experiment.seed, ranks.rank)
    beside = [*objective.parameters(), *weighting.parameters()]
    optimiser = build_optimiser(experiment.optimise, network.parameters(), beside)
    return Parts(
        experiment=experiment,
        tasks=tasks,
        ranks=ranks,
        augment=experiment.augment,
        teachers=teachers,
        network=network,
        student=student,
        objective=objective,
        weighting=weighting,
        trajectory=(),
        optimiser=optimiser,
        schedule=build_schedule(experiment.optimise, optimiser),
        average=Average(network, experiment.optimise.ema) if experiment.optimise.ema else None,
        micro_batch=launch.micro_batch,
    )


def refuse_untaught(
    terms: tuple[Term, ...], tasks: Mapping[str, Task], teachers: Mapping[str, Teacher]
) -> None:
    """Raise a `Refusal` for a task that nobody teaches, and for a teacher that nobody listens to."""
    for task in tasks:
        if not any(term.task == task for term in terms):
            raise Refusal(
                f"Nobody teaches '{task}': no label of it is left to train on, and it is compared with no "
                "teacher, so raise its share in --sampling.labels, or give it a teacher and a loss."
            )
    for name, teacher in teachers.items():
        if not any(term.source == name for term in terms):
            raise Refusal(
                f"The teacher '{name}' does {', '.join(teacher.card.tasks)}, and no distillation loss "
                "compares that: add one to `distil`, or leave the teacher out."
            )
