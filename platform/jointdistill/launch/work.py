"""What a launch hands to its workers, and what they send back: plain data, so that any transport will do.

Whoever only passes it on imports nothing of what it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from jointdistill.engine.claims import Owner
from jointdistill.types import JSON, Card, StepReport

if TYPE_CHECKING:
    from jointdistill.experiment import Experiment
    from jointdistill.place import Launch
    from jointdistill.tasks.base import Task


@dataclass(frozen=True)
class Work:
    """One run, with every address absolute and every teacher pinned."""

    experiment: Experiment
    launch: Launch
    run: str
    """Name of the run; its objects lie under runs/RUN/ on the storage."""
    storage: str
    data: str
    card: Card
    """Of the data set, as the driver saw it: shards that changed since are refused."""
    owner: Owner
    """The driver, which claims the run for its workers."""
    about: Mapping[str, JSON]
    """What each snapshot says of the run: identity, data, teachers, package, MLflow run."""
    until: int = 0
    """The step after which the workers stop for now, with a snapshot; 0: the last one."""

    @property
    def tasks(self) -> dict[str, Task]:
        """The experiment's tasks with what the data set knows of them."""
        return {name: task.described_by(self.card) for name, task in self.experiment.tasks.items()}


class Picture(NamedTuple):
    """A picture for the run's record."""

    step: int
    name: str
    png: bytes


class Note(NamedTuple):
    """A sentence for whoever watches."""

    text: str


Message = StepReport | Picture | Note


@dataclass(frozen=True)
class Outcome:
    """What a finished run is worth."""

    scores: Mapping[str, float]
    """`task/metric` → score on the validation split."""
    parameters: int
    images_per_s: float
    """Of the student alone, on the threads of one worker, without labels or teachers."""
    digest: str
    """Of the exported model."""
    teachers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Teacher → its scores on the feedback slice."""

    @property
    def row(self) -> dict[str, float]:
        """Everything a table can show."""
        return {
            **self.scores,
            "parameters": float(self.parameters),
            "inference_images_per_s": self.images_per_s,
        }

    def plain(self) -> dict[str, JSON]:
        """As JSON."""
        return {
            "scores": dict(self.scores),
            "parameters": self.parameters,
            "images_per_s": self.images_per_s,
            "digest": self.digest,
            "teachers": {name: dict(scores) for name, scores in self.teachers.items()},
        }
