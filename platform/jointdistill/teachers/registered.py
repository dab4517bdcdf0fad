"""A teacher that was trained here: from MLflow's registry, or from the folder it was saved in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self, final

from jointdistill.nets.fetch import fetch
from jointdistill.nets.joint import JointNet, at_size
from jointdistill.nets.saved import DESCRIPTION, WEIGHTS, Model, load, load_weights
from jointdistill.nets.way import INDEX, Moment, read_index
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.tasks.base import Task
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.teachers.base import Teacher, TeacherCard, TeacherRecipe
from jointdistill.types import Batch, Prediction, Refusal


@final
@dataclass(frozen=True)
class Registered(TeacherRecipe):
    """A model that the platform trained. The driver pins it: workers read the run's store and nothing else,
    and an alias that moves later changes nothing for a run that has begun."""

    model: str
    """`models:/NAME@champion`, `models:/NAME/3`, or the folder or URI of a saved model."""
    digest: str = ""
    """What the model must be; empty: whatever lies there when the run begins."""

    def pin(self, store: Store, tracking: str) -> Self:
        """Copy the model's files to `teachers/DIGEST/` in the store."""
        if self._lies_in(store):
            return self
        files = fetch(self.model, tracking)
        found, _ = load(files, self.model)
        if self.digest not in ("", found.digest):
            raise Refusal(
                f"The model '{self.model}' has the digest {found.digest[:12]}…, not {self.digest[:12]}…: "
                "name the version you mean, or leave the digest empty."
            )
        for moment in _way(files, self.model):
            moment.check(files.get(moment.file, b""), self.model)
        pinned = replace(self, digest=found.digest)
        # The weights go last: where they lie, everything lies.
        for file in sorted(files, key=lambda file: file == WEIGHTS):
            with suppress(AlreadyThere):
                store.put(f"{pinned._folder}/{file}", files[file])
        return pinned

    def build(self, tasks: Mapping[str, Task], store: Store) -> Teacher:
        """The network, for those of its tasks that are asked for."""

        def read(file: str) -> bytes:
            return store.get(f"{self._folder}/{file}")

        if not self._lies_in(store):
            raise Refusal(
                f"The teacher '{self.model}' does not lie in the run's store: start the run through its job, "
                "which puts it there."
            )
        files = {file: read(file) for file in (DESCRIPTION, WEIGHTS)}
        with suppress(Missing):
            files[INDEX] = read(INDEX)
        model, network = load(files, self.model)
        if model.digest != self.digest:
            raise Refusal(
                f"The teacher '{self.model}' in the run's store is another one: start the run again."
            )
        card = _card(model, tasks)
        if not card.tasks:
            raise Refusal(
                f"The teacher '{self.model}' does {', '.join(model.tasks)}, which is none of the tasks "
                f"{', '.join(tasks)}: name another teacher."
            )
        card.check(self.model, tasks)
        return RegisteredTeacher(network, card, _way(files, self.model), read).freeze()

    @property
    def _folder(self) -> str:
        return f"teachers/{self.digest}"

    def _lies_in(self, store: Store) -> bool:
        return bool(self.digest) and f"{self._folder}/{WEIGHTS}" in store.list(self._folder)


@final
class RegisteredTeacher(Teacher):
    """See `Registered`. It sees the views at the size it was trained at, and normalises them itself."""

    def __init__(
        self, network: JointNet, card: TeacherCard, way: tuple[Moment, ...], read: Callable[[str], bytes]
    ) -> None:
        super().__init__()
        self.network, self.card, self.way, self._read = network, card, way, read
        self.channels = network.channels

    def forward(self, batch: Batch) -> Prediction:
        """Answers and features; see `JointNet`."""
        said: Prediction = self.network(at_size(batch.image, self.card.height, self.card.width))
        return said._replace(answers={task: said.answers[task] for task in self.card.tasks})

    def at(self, moment: Moment) -> RegisteredTeacher:
        """A copy with the weights of an anchor. Raises `Refusal` where they are damaged."""
        network = copy.deepcopy(self.network)
        load_weights(network, moment.check(self._read(moment.file), self.card.digest), self.card.digest)
        return RegisteredTeacher(network, self.card, (), self._read).freeze()


def _card(model: Model, asked: Mapping[str, Task]) -> TeacherCard:
    segments = [task for task in model.tasks.values() if isinstance(task, Segmentation)]
    return TeacherCard(
        tasks=tuple(task for task in model.tasks if task in asked),
        classes=segments[0].classes if segments else (),
        units={name: task.unit for name, task in model.tasks.items()},
        height=model.height,
        width=model.width,
        mean=model.network.mean,
        std=model.network.std,
        data=model.data,
        # Elsewhere other pixels counted, and such scores do not compare.
        scores={
            name: score
            for name, score in model.scores.items()
            if (task := name.partition("/")[0]) in asked and asked[task].counted == model.tasks[task].counted
        },
        digest=model.digest,
    )


def _way(files: Mapping[str, bytes], name: str) -> tuple[Moment, ...]:
    return read_index(files[INDEX], name) if INDEX in files else ()
