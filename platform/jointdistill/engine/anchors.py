"""Anchors of a run's way: small copies of its weights, kept so that what it knew then can be replayed."""

from __future__ import annotations

from dataclasses import dataclass

from safetensors.torch import save

from jointdistill.engine.examine import Examiner
from jointdistill.engine.parts import Parts
from jointdistill.engine.resume import student_weights
from jointdistill.nets.way import INDEX, Moment, read_index, write_index
from jointdistill.store.base import AlreadyThere, Store


@dataclass(frozen=True)
class Anchors:
    """The anchors of one run, under `runs/RUN/model/anchors/` on the store."""

    parts: Parts
    examiner: Examiner
    store: Store
    run: str

    def keep(self, step: int) -> None:
        """Keep the student as it is now, with its losses on the feedback slice; every rank must call it."""
        losses = dict(self.examiner.feedback({}).student)
        weights = student_weights(self.parts)
        if self.parts.ranks.first:
            content = save(weights)
            stored = self._put(Moment.of(step, losses, content).file, content)
            self._put(f"anchors/{step:09d}.json", write_index([Moment.of(step, losses, stored)]))

    def index(self) -> None:
        """List the anchors in the index of the network's way: called once, when all are there."""
        entries = [key for key in self.store.list(f"{self._folder}/anchors") if key.endswith(".json")]
        way = [read_index(self.store.get(key), self.run)[0] for key in entries if not key.endswith(INDEX)]
        if way:
            self._put(INDEX, write_index(way))

    @property
    def _folder(self) -> str:
        return f"runs/{self.run}/model"

    def _put(self, name: str, content: bytes) -> bytes:
        """What then lies there: a resumed run passes an anchor again, perhaps with other last bits."""
        try:
            self.store.put(f"{self._folder}/{name}", content)
        except AlreadyThere:
            return self.store.get(f"{self._folder}/{name}")
        return content
