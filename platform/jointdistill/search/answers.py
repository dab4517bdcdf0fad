"""What a sweep's trials gave, rung by rung, on the storage.

    runs/SWEEP/trials/RUN.json          the point of the space that a run is at, and what it is cloned from
    runs/SWEEP/answers/RUN@STEP.json    what a run was worth after a step, and what it cost to get there
    runs/SWEEP/spent/RUN@STEP/…         seconds on the way there, each time that it was stopped

This is all that a sweep needs to go on: it is begun again with the same points, and what has an answer is
not computed twice. So nothing of Tune's own state is ever read back: those are pickles.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from jointdistill.search.names import began_at, trial_of
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.sealed import seal, unseal
from jointdistill.types import JSON, Refusal

if TYPE_CHECKING:
    from jointdistill.search.space import Point


@dataclass(frozen=True)
class Answer:
    """What a run was worth after a step."""

    scores: Mapping[str, float] = field(default_factory=dict)
    """`task/metric` → score on the validation split; of a finished student also its size and speed."""
    seconds: float = 0.0
    """From the rung before to this one, over all starts; without what a lost process did."""
    gpu_hours: float = 0.0
    """The same by what it occupied."""
    teacher_s: float = 0.0
    """Seconds of all workers in which they asked teachers, since the last start."""
    failure: str = ""
    """Why there is no student to score."""


@dataclass(frozen=True)
class Answers:
    """Of one sweep."""

    store: Store
    sweep: str

    def begun(self) -> list[Point]:
        """Where trials began, in their order."""
        keys = sorted(self.store.list(f"runs/{self.sweep}/trials"), key=lambda key: (len(key), key))
        said = [self._read(key) for key in keys]
        return [cast("Point", each["point"]) for each in said if not each["origin"]]

    def begin(self, run: str, point: Point, origin: str = "") -> None:
        """Note where a run begins. Raises `Refusal` where it once began elsewhere."""
        key, said = f"runs/{self.sweep}/trials/{run}.json", {"point": dict(point), "origin": origin}
        try:
            self.store.put(key, seal(cast("dict[str, JSON]", said)))
        except AlreadyThere:
            if (there := self._read(key)) != said:
                raise Refusal(
                    f"{run} began at {there['point']} and would now begin at {point}: give the sweep another "
                    "--name."
                ) from None

    def point(self, run: str) -> tuple[Point, str]:
        """Where a run began, and what it is cloned from. Raises `Missing`."""
        said = self._read(f"runs/{self.sweep}/trials/{run}.json")
        return cast("Point", said["point"]), cast("str", said["origin"])

    def run_at(self, trial: str, step: int) -> str:
        """The run in which a trial came to a rung: its own, or that of the last clone it was before."""
        keys = self.store.list(f"runs/{self.sweep}/trials")
        runs = [trial, *(key.rpartition("/")[2].removesuffix(".json") for key in keys)]
        mine = [run for run in runs if trial_of(run) == trial and began_at(run) < step]
        return max(mine, key=began_at)

    def get(self, run: str, step: int) -> Answer | None:
        """What a run was worth after a step, if that is known."""
        try:
            return Answer(**cast("Any", self._read(self._key(run, step))))
        except Missing:
            return None

    def put(self, run: str, step: int, answer: Answer) -> None:
        """Keep an answer; the first one counts."""
        with suppress(AlreadyThere):
            self.store.put(self._key(run, step), seal(asdict(answer)))

    def spend(self, run: str, step: int, seconds: float) -> None:
        """Note what was spent on the way to an answer that a stopped sweep does not wait for."""
        self.store.put(f"{self._on_the_way(run, step)}/{secrets.token_hex(8)}", f"{seconds:.3f}".encode())

    def spent(self, run: str, step: int) -> float:
        """Seconds that earlier starts spent on the way to an answer."""
        return sum(float(self.store.get(key)) for key in self.store.list(self._on_the_way(run, step)))

    def spent_for_nothing_yet(self) -> dict[tuple[str, int], float]:
        """Run and step of answers that are still to come → the seconds that were spent on the way there."""
        found: dict[tuple[str, int], float] = {}
        for key in self.store.list(f"runs/{self.sweep}/spent"):
            run, _, step = key.split("/")[3].rpartition("@")
            if self.get(run, int(step)) is None:
                found[run, int(step)] = found.get((run, int(step)), 0.0) + float(self.store.get(key))
        return found

    def _key(self, run: str, step: int) -> str:
        return f"runs/{self.sweep}/answers/{run}@{step:09d}.json"

    def _on_the_way(self, run: str, step: int) -> str:
        return f"runs/{self.sweep}/spent/{run}@{step:09d}"

    def _read(self, key: str) -> dict[str, JSON]:
        try:
            return unseal(self.store.get(key))
        except ValueError as wrong:
            raise Refusal(f"{key} cannot be read ({wrong}): delete it, and it is computed again.") from wrong
