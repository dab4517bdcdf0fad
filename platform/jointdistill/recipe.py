"""Recipes: frozen descriptions of the parts an experiment is made of."""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from inspect import isabstract

from jointdistill.types import JSON


class Recipe:
    """A frozen dataclass of knobs that can build its part. The recipe is what an experiment keeps."""


def describe(value: object) -> JSON:
    """A recipe, or anything made of recipes, as plain JSON; the class's name goes with its knobs."""
    if is_dataclass(value) and not isinstance(value, type):
        knobs = {field.name: describe(getattr(value, field.name)) for field in fields(value)}
        return {"recipe": type(value).__name__, **knobs} if isinstance(value, Recipe) else dict(knobs)
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [describe(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{type(value).__name__} cannot stand in a recipe: use numbers, strings, tuples, recipes")


def flatten(description: JSON, prefix: str = "") -> dict[str, str | int | float | bool | None]:
    """The leaves of a description by dotted name, as MLflow lists parameters."""
    if isinstance(description, dict):
        items: Iterator[tuple[str, JSON]] = iter(description.items())
    elif isinstance(description, list):
        items = ((str(place), item) for place, item in enumerate(description))
    else:
        return {prefix: description}
    leaves: dict[str, str | int | float | bool | None] = {}
    for name, item in items:
        leaves |= flatten(item, f"{prefix}.{name}" if prefix else name)
    return leaves


def digest(description: JSON) -> str:
    """sha256 of a description; key order does not matter."""
    text = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def recipes_in(package: str, kind: type[Recipe]) -> dict[str, type[Recipe]]:
    """Every recipe of a kind that lies in a package and can be built, by its class name in lower case.

    A method is found by where it lies: there is no list to edit.
    """
    folder = importlib.import_module(package)
    found: dict[str, type[Recipe]] = {}
    for module in pkgutil.iter_modules(folder.__path__):
        for item in vars(importlib.import_module(f"{package}.{module.name}")).values():
            recipe = isinstance(item, type) and issubclass(item, kind) and is_dataclass(item)
            if recipe and not isabstract(item):
                found[item.__name__.lower()] = item
    return found


def restore(description: JSON, kinds: Mapping[str, type[Recipe]]) -> Recipe:
    """The recipe a description came from; only recipes named in `kinds` are ever made.

    Raises `ValueError` where the description names another one or does not fit its knobs.
    """
    if not isinstance(description, dict) or not isinstance(name := description.get("recipe"), str):
        raise ValueError("a recipe's description is an object with a 'recipe'")
    kind = kinds.get(name.lower())
    if kind is None:
        raise ValueError(f"there is no recipe '{name}' among {', '.join(sorted(kinds))}")
    knobs = {knob: _frozen(value) for knob, value in description.items() if knob != "recipe"}
    try:
        return kind(**knobs)
    except TypeError as wrong:
        raise ValueError(f"the description of '{name}' does not fit it: {wrong}") from wrong


def _frozen(value: JSON) -> object:
    """Lists come back from JSON where tuples went in."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def word(kind: type[Recipe]) -> str:
    """A recipe's word on the command line: its file's name, with dashes."""
    return kind.__module__.rpartition(".")[2].replace("_", "-")


def methods_in(package: str, kind: type[Recipe]) -> dict[str, type[Recipe]]:
    """The recipe of every file of a package by its word."""
    words = {word(recipe): recipe for recipe in recipes_in(package, kind).values()}
    return dict(sorted(words.items()))
