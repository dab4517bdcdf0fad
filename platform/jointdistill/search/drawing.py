"""Pictures of a sweep: grey for what was tried, one colour for what was best, and axes that read upwards."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from jointdistill.search.space import Choice, Label, LogUniform, Range

BEST, OTHERS = "#d9541e", "#9aa0a6"
INCHES, DPI = (7.0, 3.8), 120


@dataclass(frozen=True)
class Line:
    """A trial in a picture."""

    name: str
    point: Mapping[str, Label]
    curve: Sequence[tuple[int, float]]
    """Step and score."""
    values: tuple[float, ...]
    """Of each objective, after the step that the picture is of; NaN where it is not known."""
    best: bool


def learning_curves(lines: Sequence[Line], objective: str) -> bytes:
    """Score over steps, a line a trial."""
    with _picture() as (figure, written):
        axes = figure.subplots()
        for line in _best_last(lines):
            axes.plot(*zip(*line.curve, strict=True), marker="o", markersize=3, **_style(line))
        axes.set(xlabel="step", ylabel=objective)
        axes.spines[["top", "right"]].set_visible(False)
        _named(axes, lines)
    return written()


def importance(shares: Mapping[str, float], told: str) -> bytes:
    """How much of what differs is due to each knob."""
    with _picture() as (figure, written):
        axes = figure.subplots()
        knobs = sorted(shares, key=lambda knob: shares[knob])
        bars = axes.barh(knobs, [100 * shares[knob] for knob in knobs], color=OTHERS)
        axes.bar_label(bars, fmt="%.0f %%", padding=3)
        axes.set(xlim=(0, 110), xlabel=f"importance for {told}")
        axes.spines[["top", "right"]].set_visible(False)
    return written()


def parallel_coordinates(
    lines: Sequence[Line], space: Mapping[str, Range], objectives: Sequence[str]
) -> bytes:
    """A line a trial through an axis a knob, and at the right one an objective."""
    knobs = [*space]
    places = [_places(space[knob], [line.point[knob] for line in lines]) for knob in knobs]
    places += [_scaled([line.values[place] for line in lines]) for place in range(len(objectives))]
    with _picture(width=2.0 + 1.6 * len(places)) as (figure, written):
        axes = figure.subplots()
        for number in _best_last(range(len(lines)), key=lambda number: lines[number].best):
            heights = [place.heights[number] for place in places]
            axes.plot(range(len(places)), heights, **_style(lines[number]))
        for across, place in enumerate(places):
            axes.axvline(across, color="0.2", linewidth=0.8)
            for height, label in place.ticks:
                axes.annotate(
                    label, (across, height), (4, 0), textcoords="offset points", va="center", size=8
                )
        names = [*(knob.replace(".", ".\n", 1) for knob in knobs), *objectives]
        axes.set(xticks=range(len(places)), yticks=[], xlim=(-0.1, len(places) - 0.6))
        axes.set_xticklabels(names, size=8)
        for side in axes.spines.values():
            side.set_visible(False)
        _named(axes, lines)
    return written()


def pareto_front(lines: Sequence[Line], front: Sequence[str], objectives: Sequence[str]) -> bytes:
    """The first two objectives of each trial. Those of the front are coloured, and joined where there are no
    more objectives: of three a front is no line, and who is on it may seem beaten here."""
    with _picture() as (figure, written):
        axes = figure.subplots()
        for line in lines:
            chosen = line.name in front
            axes.scatter(*line.values[:2], color=BEST if chosen else OTHERS, s=24, zorder=2 + chosen)
            if chosen:
                axes.annotate(line.name, line.values[:2], (5, 4), textcoords="offset points", size=8)
        if len(objectives) == 2:
            joined = sorted(line.values for line in lines if line.name in front)
            axes.plot(*zip(*joined, strict=True), color=BEST, linewidth=1)
        axes.set(xlabel=objectives[0], ylabel=objectives[1])
        axes.margins(0.1)
        axes.spines[["top", "right"]].set_visible(False)
    return written()


@dataclass(frozen=True)
class _Axis:
    heights: list[float]
    """Of each line, in 0..1; NaN where it has none."""
    ticks: list[tuple[float, str]]


def _places(values: Range, labels: Sequence[Label]) -> _Axis:
    """An axis for a knob: its whole range, whatever was tried of it."""
    if isinstance(values, Choice):
        there = [*values.ends]
        height = {str(label): (place + 0.5) / len(there) for place, label in enumerate(there)}
        return _Axis(
            [height[str(label)] for label in labels], [(height[str(one)], str(one)) for one in there]
        )
    low, high = (float(end) for end in values.ends if isinstance(end, int | float))
    return _numbers([float(label or 0) for label in labels], low, high, isinstance(values, LogUniform))


def _scaled(values: Sequence[float]) -> _Axis:
    """An axis for scores: from the smallest to the largest there is, and empty where there is none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return _Axis([math.nan] * len(values), [])
    return _numbers(values, min(known), max(known), logarithmic=False)


def _numbers(values: Sequence[float], low: float, high: float, logarithmic: bool) -> _Axis:
    scale: Callable[[float], float] = math.log if logarithmic else float
    wide = scale(high) - scale(low) or 1.0
    heights = [(scale(value) - scale(low)) / wide if math.isfinite(value) else math.nan for value in values]
    middle = math.sqrt(low * high) if logarithmic else (low + high) / 2
    return _Axis(heights, [((scale(one) - scale(low)) / wide, f"{one:.3g}") for one in (low, middle, high)])


def _style(line: Line) -> dict[str, Any]:
    if line.best:
        return {"color": BEST, "linewidth": 2.0, "zorder": 3, "label": line.name}
    return {"color": OTHERS, "linewidth": 0.9, "alpha": 0.8}


def _best_last(lines: Any, key: Callable[[Any], bool] = lambda line: bool(line.best)) -> list[Any]:
    """So that it lies on top."""
    return sorted(lines, key=key)


def _named(axes: Any, lines: Sequence[Line]) -> None:
    if any(line.best for line in lines):
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=8)


@contextmanager
def _picture(width: float = INCHES[0]) -> Iterator[tuple[Any, Callable[[], bytes]]]:
    """A figure without a screen, and what makes a PNG of it once the block is over."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, INCHES[1]), layout="constrained")
    FigureCanvasAgg(figure)

    def written() -> bytes:
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=DPI)
        return content.getvalue()

    yield figure, written
