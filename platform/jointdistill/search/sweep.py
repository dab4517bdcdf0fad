"""A sweep: one experiment, a space over its knobs, and how to search it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields

from jointdistill.experiment import Experiment
from jointdistill.recipe import describe, digest, word
from jointdistill.search.names import CLONE
from jointdistill.search.objective import DELTA_M, Objective, objectives_of, refuse_odd_reference
from jointdistill.search.schedulers.base import Race, SchedulerRecipe
from jointdistill.search.schedulers.fifo import Fifo
from jointdistill.search.searchers.base import SearcherRecipe
from jointdistill.search.searchers.random import Random
from jointdistill.search.space import Range, refuse_unfit, turned
from jointdistill.types import JSON, Refusal, refuse_odd_name


@dataclass(frozen=True)
class Sweep:
    """What is searched, and how. A contradiction in it dies here, before anything is read."""

    name: str
    """Names the sweep; its trials are the runs NAME-000, NAME-001 …"""
    base: Experiment
    """What is trained, but for the knobs of the space."""
    space: Mapping[str, Range]
    """Dotted name of a knob → the values it may take."""
    objectives: tuple[str, ...] = (DELTA_M,)
    """`delta_m` or any `task/metric`; several make a Pareto front."""
    searcher: SearcherRecipe = field(default_factory=Random)
    scheduler: SchedulerRecipe = field(default_factory=Fifo)
    trials: int = 16
    """How many at most; of a population its size."""
    hours: float = 0.0
    """After so long no trial begins or goes on; 0: no limit."""
    gpu_hours: float = 0.0
    """The same by what all trials together have used; 0: no limit."""
    reference: Mapping[str, float] = field(default_factory=dict)
    """`task/metric` → what Δm compares with; a teacher's own scores where it says nothing."""
    seed: int = 0
    """Of the points; the experiment has its own."""

    def __post_init__(self) -> None:
        refuse_odd_name("--name", self.name)
        if CLONE in self.name:
            raise Refusal(f"--name '{self.name}': '{CLONE}' marks the runs of clones, so leave it out.")
        if not self.space:
            raise Refusal(f"The sweep '{self.name}' turns no knob: give its space at least one.")
        if self.trials < 1 or not all(0 <= limit < math.inf for limit in (self.hours, self.gpu_hours)):
            raise Refusal(
                "--trials must be at least 1, and --hours and --gpu-hours numbers of at least 0: correct it."
            )
        refuse_odd_reference(self.base.tasks, self.reference)
        refuse_unfit(self.base, self.space)
        self._refuse_knobs()
        scheduler, searcher = word(type(self.scheduler)), word(type(self.searcher))
        ranked = self.scheduler.ranks
        if ranked and len(self.ranked_by) > 1:
            raise Refusal(
                f"--scheduler {scheduler} ranks by one number, and the sweep '{self.name}' has "
                f"{len(self.ranked_by)} objectives: choose one, such as delta_m, or --scheduler fifo."
            )
        if ranked and self.ranked_by[0].only_at_the_end:
            raise Refusal(
                f"--scheduler {scheduler} ranks before the end, and {self.ranked_by[0].name} is "
                "known only then: choose another objective, or --scheduler fifo."
            )
        if self.scheduler.gathers and self.searcher.listens:
            raise Refusal(
                f"--scheduler {scheduler} begins with all trials before any ends, so --searcher "
                f"{searcher} could learn of none: take --searcher random, or --scheduler fifo."
            )
        if self.scheduler.clones and self.trials < 2:
            raise Refusal("A population needs at least 2 members: raise --trials.")
        self.scheduler.build(self.race)  # what it cannot deal with, it says now

    def _refuse_knobs(self) -> None:
        """Raises `Refusal` for knobs that would make trials another thing than the base, or a clone than its
        donor."""
        for knob, values in self.space.items():
            if _lies_in(knob, _FIXED):
                raise Refusal(
                    f"The space cannot turn '{knob}', which all trials share: make a sweep for each value."
                )
            if self.scheduler.clones and self._taken_over(knob):
                raise Refusal(
                    f"A population cannot turn '{knob}', since a clone goes on with its donor's: leave it "
                    "out, or take --scheduler fifo."
                )
            for label in values.ends:
                heard = turned(self.base, self.space, {knob: label}).heard
                if unheard := [name for name in heard if name not in self.base.heard]:
                    raise Refusal(
                        f"At {knob} = {label} the teacher '{unheard[0]}' is heard and in the base it is not: "
                        "begin with a base that hears its teachers."
                    )

    def _taken_over(self, knob: str) -> bool:
        """Whether a clone would lose what its donor knows if it had another value; see `engine/branch.py`."""
        methods, bound = ["weighting", "trajectory"], [*_OF_A_CLONE]
        for place, source in enumerate(self.base.trajectory):
            methods.append(f"trajectory.{place}")
            knobs = [each.name for each in fields(source) if each.name not in source.free]
            bound += [f"trajectory.{place}.{name}" for name in knobs]
        return knob in methods or _lies_in(knob, bound)

    @property
    def ranked_by(self) -> tuple[Objective, ...]:
        """The objectives."""
        return objectives_of(self.objectives, self.base)

    @property
    def steps(self) -> int:
        """Of a whole trial."""
        return self.base.optimise.steps

    @property
    def race(self) -> Race:
        """What its scheduler must know."""
        return Race(self.space, self.ranked_by[0], self.steps, self.seed)

    @property
    def budget(self) -> dict[str, float]:
        """What may be spent."""
        return {"trials": self.trials, "hours": self.hours, "gpu_hours": self.gpu_hours}

    def describe(self) -> dict[str, JSON]:
        """What makes it this sweep, as plain JSON. Its budget does not: a sweep may be given more. Only of a
        population the size does, since who takes over from whom depends on it."""
        there = {each.name: getattr(self, each.name) for each in fields(self)}
        more = self.budget.keys() - ({"trials"} if self.scheduler.clones else set())
        # Answers are of a rung, so they hold only as long as the rule that sets rungs does.
        rungs: list[JSON] = [*self.scheduler.rungs(self.steps)]
        return {name: describe(value) for name, value in there.items() if name not in more} | {"rungs": rungs}

    def identity(self, data: str, teachers: Mapping[str, str]) -> str:
        """sha256 of what makes it this sweep, with its data and teachers."""
        return digest({"sweep": self.describe(), "data": data, "teachers": dict(teachers)})


_FIXED = ("name", "optimise.steps", "data", "tasks", "teachers", "origin", "anchors")
_OF_A_CLONE = ("student", "optimise.optimiser", "optimise.schedule", "distil", "sampling", "seed")
"""A clone goes on with what its donor had of these, and with its methods of weighting and memory."""


def _lies_in(knob: str, names: Iterable[str]) -> bool:
    return any(knob == name or knob.startswith(f"{name}.") for name in names)
