"""What a sweep's trials gave, rung by rung, on the storage.

    runs/SWEEP/trials/RUN.json          the point of the space that a run is at, and what it is cloned from
    runs/SWEEP/answers/RUN@STEP.json    what a run was worth after a step, and what it cost to get there

This is all that a sweep needs to go on: it is begun again with the same points, and what has an answer is
not computed twice. So nothing of Tune's own state is ever read back: those are pickles.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

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
    """From the rung before to this one."""
    gpu_hours: float = 0.0
    """The same by what it occupied."""
    teacher_s: float = 0.0
    """Seconds of all workers in which they asked teachers."""
    failure: str = ""
    """Why there is no student to score."""


@dataclass(frozen=True)
class Answers:
    """Of one sweep."""

    store: Store
    sweep: str

    def begun(self) -> list[Point]:
        """Where trials began, in their order."""
        keys = sorted(self.store.list(f"runs/{self.sweep}/trials"))
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

    def _key(self, run: str, step: int) -> str:
        return f"runs/{self.sweep}/answers/{run}@{step:09d}.json"

    def _read(self, key: str) -> dict[str, JSON]:
        try:
            return unseal(self.store.get(key))
        except ValueError as wrong:
            raise Refusal(f"{key} cannot be read ({wrong}): delete it, and it is computed again.") from wrong
