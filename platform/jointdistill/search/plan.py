"""What the trials of a sweep have in common, and where one stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from jointdistill.engine.claims import Owner
from jointdistill.engine.subject import Subject
from jointdistill.experiment import Experiment
from jointdistill.launch.settle import Settled
from jointdistill.launch.stop import StopSign
from jointdistill.launch.work import Message, Outcome, Work
from jointdistill.search.space import Point, Space, turned
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import JSON

Segment = Callable[[Work, Callable[[Message], None], StopSign], Outcome | None]


@dataclass(frozen=True)
class Standing:
    """Where a trial stands."""

    run: str
    step: int = 0
    origin: str = ""
    """The snapshot that the run went on from, where it is a clone."""


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep have in common."""

    sweep: str
    base: Experiment
    """As it was written; a run's identity is of it."""
    settled: Settled
    """With its teachers pinned."""
    space: Space
    rungs: tuple[int, ...]
    reference: Mapping[str, float]
    gpus: float
    """That a trial occupies."""
    segment: Segment
    """How a segment is computed."""

    @property
    def store(self) -> Store:
        """Where everything lies."""
        return open_store(self.settled.work.storage)

    def settle(self, point: Point, place: Standing) -> Settled:
        """A trial's run, with everything it rests on."""
        experiment = turned(self.base, self.space, point)
        experiment = replace(experiment, origin=place.origin or experiment.origin)
        subject, work = self.settled.subject, self.settled.work
        digests = {name: subject.teachers[name] for name in experiment.heard}
        mine = Subject.of(experiment, subject.data, digests, subject.data_set)
        teachers = {name: work.experiment.teachers[name] for name in experiment.heard}
        about: dict[str, JSON] = {
            **work.about,
            "identity": mine.identity,
            "teachers": dict(digests),
            "sweep": self.sweep,
        }
        told = replace(
            work,
            experiment=replace(experiment, teachers=teachers or experiment.teachers),
            run=place.run,
            owner=Owner.here(),
            about=about,
        )
        return Settled(told, mine, self.settled.tracking)
