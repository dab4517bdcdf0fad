"""What a sweep knows of its trials while it runs: their points, their curves, their cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.tune import Callback

from jointdistill.search.answers import Answers
from jointdistill.search.objective import Objective
from jointdistill.search.space import Point, Space
from jointdistill.types import Refusal


@dataclass
class Course:
    """How one trial went."""

    name: str
    point: Point
    """As it is now; a population's members change theirs."""
    run: str = ""
    """The run that it trains now."""
    curve: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step → score by name."""
    gpu_hours: float = 0.0
    failure: str = ""

    @property
    def step(self) -> int:
        """How far it came."""
        return max(self.curve, default=0)

    def value(self, objective: Objective, step: int = 0) -> float:
        """An objective after a step, or after the last one; NaN where it is not known."""
        return self.curve.get(step or self.step, {}).get(objective.name, float("nan"))


class Ledger(Callback):  # type: ignore[misc]  # ray is read untyped
    """Keeps the books, in the driver, as Tune tells what happens."""

    def __init__(
        self,
        answers: Answers,
        space: Space,
        objectives: tuple[Objective, ...],
        say: Callable[[str], None],
    ) -> None:
        self._answers, self._space, self._objectives, self._say = answers, space, objectives, say
        self._courses: dict[str, Course] = {}
        self._spent = answers.spent_for_nothing_yet()
        self._told: set[tuple[str, int]] = set()
        self.refused: Refusal | None = None

    def known(self) -> list[Point]:
        """Where trials began when the sweep ran before."""
        return self._answers.begun()

    @property
    def courses(self) -> list[Course]:
        """All trials, the first one first."""
        return [*self._courses.values()]

    @property
    def seconds_unended(self) -> float:
        """Spent on segments that were stopped, as far as no result holds them yet; by earlier starts, until
        `recount`."""
        return sum(seconds for where, seconds in self._spent.items() if where not in self._told)

    def recount(self) -> None:
        """Look again what was spent, once the sweep has stopped."""
        self._spent = self._answers.spent_for_nothing_yet()

    def begin(self, trial: Any) -> None:
        """A trial is thought of: note where it begins. Raises `Refusal` where it once began elsewhere."""
        try:
            self._answers.begin(str(trial), self._point(trial))
        except Refusal as refused:
            self.refused = refused  # Tune wraps what it catches
            raise
        self._courses[str(trial)] = Course(str(trial), self._point(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """See `Callback`."""
        course, step = self._courses[str(trial)], int(result["step"])
        course.point, course.run, course.failure = self._point(trial), result["run"], result["failure"]
        course.gpu_hours += 0.0 if step in course.curve else result["gpu_hours"]
        self._told.add((course.run, step))
        if not course.failure:  # else it did not get there
            course.curve[step] = dict(result["values"])
        told = ", ".join(f"{each.name} {course.value(each, step):.4g}" for each in self._objectives)
        self._say(f"{trial} after step {step}: {course.failure or told}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """See `Callback`."""
        course = self._courses[str(trial)]
        course.failure = _last_line(trial)
        self._say(f"{trial} failed: {course.failure}")

    def _point(self, trial: Any) -> Point:
        return {knob: trial.config[knob] for knob in self._space}


def finished(courses: Iterable[Course], steps: int) -> list[Course]:
    """The trials that came to their end."""
    return [course for course in courses if course.step == steps and not course.failure]


def _last_line(trial: Any) -> str:
    """What a trial failed of, without the way there."""
    # Where Tune wrote it, not where it has uploaded it to: that comes later, if ever.
    lines = Path(trial.error_file).read_text().strip().splitlines() if trial.error_file else []
    return lines[-1].strip() if lines else "unknown"
