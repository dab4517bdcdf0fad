"""What a sweep found: who is best, what mattered, and pictures of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import optuna
from optuna.importance import FanovaImportanceEvaluator
from rich.box import SIMPLE
from rich.table import Table

from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.search import drawing
from jointdistill.search.ledger import Course, finished
from jointdistill.search.objective import Objective
from jointdistill.search.space import Label, distributions, new_study
from jointdistill.search.sweep import Sweep
from jointdistill.types import StepReport

ENOUGH = 4
"""Trials below which nothing is said of what mattered."""
SHOWN = 10
"""Rows of a table on the console."""


@dataclass(frozen=True)
class Report:
    """Of one sweep."""

    sweep: Sweep
    courses: Sequence[Course]
    gpu_hours_unended: float = 0.0
    """Of segments that were stopped on their way, and that nobody has ended yet."""

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What trials are ranked by."""
        return self.sweep.ranked_by

    @cached_property
    def ranked(self) -> list[Course]:
        """Finished trials, the best by the first objective first; then the others, by how far they came."""
        first = self.objectives[0]

        def rank(course: Course) -> tuple[bool, int, bool, float]:
            value = course.value(first)
            unknown = math.isnan(value)
            signed = 0.0 if unknown else -value if first.more_is_better else value
            return course.step != self.sweep.steps or bool(course.failure), -course.step, unknown, signed

        return sorted(self.courses, key=rank)

    @cached_property
    def best(self) -> Course | None:
        """The best finished trial; none where none finished with a score."""
        there = finished(self.ranked, self.sweep.steps)
        return next((course for course in there if math.isfinite(course.value(self.objectives[0]))), None)

    @property
    def all_failed(self) -> str:
        """What the first trial failed of, where all did."""
        failures = [course.failure for course in self.courses]
        return failures[0] if failures and all(failures) else ""

    @property
    def front(self) -> list[Course]:
        """Finished trials that no other beats in one objective without losing in another."""
        there = finished(self.ranked, self.sweep.steps)
        return [one for one in there if not any(self._dominates(other, one) for other in there)]

    @property
    def steps_trained(self) -> int:
        """Of all trials together."""
        return sum(course.step for course in self.courses)

    def write(self, record: TrackedRun) -> None:
        """Put table, pictures and figures into the sweep's record."""
        record.file("sweep.md", self.markdown().encode())
        for name, png in self.pictures().items():
            record.picture(f"{name}.png", png)
        figures = {
            "steps": float(self.steps_trained),
            "trials": float(len(self.courses)),
            "gpu_hours": sum(course.gpu_hours for course in self.courses) + self.gpu_hours_unended,
        }
        if best := self.best:
            record.tag("jointdistill.best", best.run)
            figures |= {f"best/{each.name}": best.value(each) for each in self.objectives}
        known = {name: value for name, value in figures.items() if math.isfinite(value)}
        record.report(StepReport(self.steps_trained, 0, known))

    @cached_property
    def importances(self) -> list[dict[str, float]]:
        """For each objective, how much of what differs between trials, where they compare, is due to each
        knob; nothing for populations, whose knobs move, or for too few trials.

        fANOVA (Hutter et al., ICML 2014).
        """
        return [self._importance(place) for place in range(len(self.objectives))]

    def _importance(self, place: int) -> dict[str, float]:
        study, judge = self._study(place), FanovaImportanceEvaluator(seed=0)
        if self.sweep.scheduler.clones or len(study.trials) < ENOUGH:
            return {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return optuna.importance.get_param_importances(study, evaluator=judge)
            except (ValueError, RuntimeError):  # all trials are worth the same
                return {}

    def markdown(self) -> str:
        """The report as a page."""
        lines = [f"# {self.sweep.name}", ""]
        if best := self.best:
            said = ", ".join(f"{each.name} {best.value(each):.4g}" for each in self.objectives)
            lines += [f"Best: **{best.name}** with {said}. Alone: `--trial {best.run}`.", ""]
        else:
            lines += ["No trial finished with a score.", ""]
        lines += [f"{len(self.courses)} trials, {self.steps_trained} training steps.", ""]
        for each, shares in zip(self.objectives, self.importances, strict=True):
            if shares:
                said = ", ".join(f"{knob} {share:.0%}" for knob, share in shares.items())
                lines += [f"What {each.name} after step {self.compared_at} depends on: {said}.", ""]
        if len(self.objectives) > 1:
            lines += [f"Pareto front: {', '.join(course.name for course in self.front) or 'empty'}.", ""]
        heads = ["trial", "steps", *(each.name for each in self.objectives), *self.sweep.space, ""]
        lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
        lines += [f"| {' | '.join(self._cells(course))} |" for course in self.ranked]
        return "\n".join(lines) + "\n"

    def table(self) -> Table:
        """The best trials, for the console."""
        title = f"{self.sweep.name}: {len(self.courses)} trials, {self.steps_trained} steps"
        shown = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE, show_edge=False)
        shown.add_column("trial", no_wrap=True)
        for head in ("steps", *(each.name for each in self.objectives), *self.sweep.space, ""):
            shown.add_column(head.rsplit(".", 1)[-1], justify="right")
        for course in self.ranked[:SHOWN]:
            shown.add_row(*self._cells(course))
        return shown

    def pictures(self) -> dict[str, bytes]:
        """Name → PNG, of what there is enough to draw."""
        names = [each.name for each in self.objectives]
        lines = [self._line(course, self.compared_at) for course in self.courses]
        there = [line for line in lines if any(map(math.isfinite, line.values))]
        drawn: dict[str, bytes] = {}
        if any(len(line.curve) > 1 for line in lines):
            drawn["learning-curves"] = drawing.learning_curves(
                [line for line in lines if line.curve], names[0]
            )
        for name, shares in zip(names, self.importances, strict=True):
            if shares:
                told = f"{name} after step {self.compared_at}"
                drawn[f"importance-{name.replace('/', '-')}"] = drawing.importance(shares, told)
        if len(there) >= ENOUGH:
            drawn["parallel-coordinates"] = drawing.parallel_coordinates(there, self.sweep.space, names)
        ended = [self._line(course, self.sweep.steps) for course in finished(self.courses, self.sweep.steps)]
        whole = [line for line in ended if all(map(math.isfinite, line.values))]
        if len(names) > 1 and whole:
            drawn["pareto-front"] = drawing.pareto_front(whole, [one.name for one in self.front], names)
        return drawn

    @cached_property
    def compared_at(self) -> int:
        """The highest rung that at least half of the trials, and enough to compare, reached."""
        rungs = self.sweep.scheduler.rungs(self.sweep.steps)
        reached = {rung: sum(rung in course.curve for course in self.courses) for rung in rungs}
        enough = max(ENOUGH, len(self.courses) / 2)
        return max((rung for rung in rungs if reached[rung] >= enough), default=rungs[0])

    def _line(self, course: Course, after: int) -> drawing.Line:
        first = self.objectives[0]
        curve = [(step, course.value(first, step)) for step in sorted(course.curve)]
        best = self.best
        return drawing.Line(
            name=course.name,
            point=course.point,
            curve=[(step, value) for step, value in curve if math.isfinite(value)],
            values=tuple(course.value(each, after) for each in self.objectives),
            best=best is not None and best.name == course.name,
        )

    def _study(self, place: int) -> optuna.Study:
        """The trials that reached the rung where they compare, with one objective's value there."""
        study = new_study()
        for course in self.courses:
            value = course.value(self.objectives[place], self.compared_at)
            if math.isfinite(value):
                study.add_trial(
                    optuna.trial.create_trial(
                        params=course.point, distributions=distributions(self.sweep.space), value=value
                    )
                )
        return study

    def _cells(self, course: Course) -> list[str]:
        values = [course.value(each) for each in self.objectives]
        numbers = ["–" if math.isnan(value) else f"{value:.4g}" for value in values]
        knobs = [_shown(course.point[knob]) for knob in self.sweep.space]
        note = course.failure or ("" if course.step == self.sweep.steps else "stopped")
        run = course.run or course.name  # what --trial takes: only a clone's own run has its knobs
        return [run, str(course.step), *numbers, *knobs, note]

    def _dominates(self, one: Course, other: Course) -> bool:
        pairs = [(each, one.value(each), other.value(each)) for each in self.objectives]
        return any(each.better(mine, theirs) for each, mine, theirs in pairs) and not any(
            each.better(theirs, mine) for each, mine, theirs in pairs
        )


def _shown(label: Label) -> str:
    return f"{label:.4g}" if isinstance(label, float) else str(label)
