"""What a sweep may turn: knobs of an experiment by dotted name, and the values each may take."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, final, get_args, get_origin, get_type_hints

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler

from jointdistill.experiment import Experiment
from jointdistill.recipe import Recipe
from jointdistill.types import Refusal

Label = str | int | float | bool | None
"""A value as records and pictures show it; a recipe goes by its class's name."""
Point = dict[str, Label]
"""A place in a space: knob → label."""
_PLENTY = 20
"""A space that gave nothing new so many times in a row is taken to be used up."""


class Range(Recipe, ABC):
    """The values that a knob may take."""

    @property
    @abstractmethod
    def distribution(self) -> BaseDistribution:
        """What Optuna draws from: labels."""

    @property
    @abstractmethod
    def ends(self) -> tuple[Label, ...]:
        """Labels that must fit the knob for all of them to fit."""

    def value(self, label: Label) -> object:
        """What the knob is set to."""
        return label


@final
@dataclass(frozen=True)
class Choice(Range):
    """One of several values: numbers, words or whole recipes (of different classes)."""

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        labels = [_label(value) for value in self.values]
        if len(set(labels)) < max(1, len(labels)):
            raise Refusal(
                f"Choice{self.values} needs values that differ, recipes by their class: correct it."
            )

    @property
    def distribution(self) -> BaseDistribution:
        """All alike."""
        return CategoricalDistribution([_label(value) for value in self.values])

    @property
    def ends(self) -> tuple[Label, ...]:
        """All."""
        return tuple(_label(value) for value in self.values)

    def value(self, label: Label) -> object:
        """See `Range`."""
        return next(value for value in self.values if _label(value) == label)


@dataclass(frozen=True)
class Interval(Range, ABC):
    """The numbers from `low` to `high`, both included."""

    low: float
    high: float
    kind: ClassVar[type[float]] = float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise Refusal(f"{self} holds nothing: give a low end below its high end.")

    @property
    def ends(self) -> tuple[Label, ...]:
        """The smallest and the largest."""
        return self.kind(self.low), self.kind(self.high)


@final
@dataclass(frozen=True)
class Uniform(Interval):
    """A number from `low` to `high`."""

    @property
    def distribution(self) -> BaseDistribution:
        """Any number alike."""
        return FloatDistribution(self.low, self.high)


@final
@dataclass(frozen=True)
class LogUniform(Interval):
    """A number from `low`, above 0, to `high`, of which any factor is alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise Refusal(f"{self} has no logarithm: start above 0, or take Uniform.")

    @property
    def distribution(self) -> BaseDistribution:
        """Any factor alike."""
        return FloatDistribution(self.low, self.high, log=True)


@final
@dataclass(frozen=True)
class Whole(Interval):
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int
    kind: ClassVar[type[int]] = int

    @property
    def distribution(self) -> BaseDistribution:
        """Any of them alike."""
        return IntDistribution(self.low, self.high)


Space = Mapping[str, Range]
"""Dotted name of a knob, such as `weighting.gain` or `trajectory.0.gain` → its values."""


def turned(experiment: Experiment, space: Space, point: Point) -> Experiment:
    """The experiment at a place of the space. Raises `Refusal` where a knob or its value is none."""
    for knob, label in point.items():
        experiment = _with(experiment, knob, knob.split("."), space[knob].value(label))
    return experiment


def refuse_unfit(experiment: Experiment, space: Space) -> None:
    """Raises `Refusal` where the experiment lacks a knob, or would refuse an end of its range, or where one
    knob lies inside another."""
    for knob, values in space.items():
        if inside := [other for other in space if other.startswith(f"{knob}.")]:
            raise Refusal(
                f"The space turns '{knob}' and '{inside[0]}' inside it, and one would undo the other: leave "
                "one of them out."
            )
        for label in values.ends:
            try:
                turned(experiment, space, {knob: label})
            except Refusal as refused:
                raise Refusal(f"The space's '{knob}' at {label}: {refused}") from refused


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Knob → what Optuna draws its label from."""
    return {knob: values.distribution for knob, values in space.items()}


def drawn(space: Space, count: int, seed: int) -> list[Point]:
    """Random places that all differ; fewer than `count` where the space has no more."""
    study = new_study(RandomSampler(seed=seed))
    points: list[Point] = []
    repeated = 0
    while len(points) < count and repeated < _PLENTY * (len(points) + 1):
        point = study.ask(distributions(space)).params
        repeated = repeated + 1 if point in points else 0
        if not repeated:
            points.append(point)
    return points


def new_study(sampler: BaseSampler | None = None) -> optuna.Study:
    """A study of Optuna's that does not announce itself."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=sampler)


def _with(holder: Any, knob: str, path: list[str], value: object) -> Any:
    """A copy of a dataclass, mapping or tuple with a place below it changed."""
    name, *rest = path
    there = _places(holder)
    if name not in there:
        near = get_close_matches(name, there, 1)
        meant = f"did you mean '{near[0]}'?" if near else f"there is {', '.join(there) or 'nothing'}."
        raise Refusal(f"There is no knob '{knob}': at '{name}', {meant}")
    if not rest and is_dataclass(holder):
        _refuse_type(holder, name, knob, value)
    new = _with(there[name], knob, rest, value) if rest else value
    if isinstance(holder, Mapping):
        return {**holder, name: new}
    if isinstance(holder, tuple):
        return (*holder[: int(name)], new, *holder[int(name) + 1 :])
    return replace(holder, **{name: new})


def _places(holder: Any) -> dict[str, Any]:
    if isinstance(holder, Mapping):
        return dict(holder)
    if isinstance(holder, tuple):
        return {str(place): item for place, item in enumerate(holder)}
    if is_dataclass(holder):
        return {field.name: getattr(holder, field.name) for field in fields(holder)}
    return {}


def _refuse_type(holder: Any, name: str, knob: str, value: object) -> None:
    hint = get_type_hints(type(holder))[name]
    if not _fits(hint, value):
        kind = " or ".join(map(repr, get_args(hint))) if get_origin(hint) is Literal else hint.__name__
        raise Refusal(f"'{knob}' takes {kind}, and {value!r} is none: correct the space.")


def _fits(hint: Any, value: object) -> bool:
    """Whether a value is of a plain type; of others the experiment itself judges."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)


def _label(value: object) -> Label:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return type(value).__name__ if isinstance(value, Recipe) else str(value)
