"""The card of a data set as JSON, and the fingerprint that follows from it (docs/data-format.md)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from reprlib import repr as short
from typing import Any, NamedTuple

from jointdistill.recipe import describe, digest
from jointdistill.types import JSON, UNKNOWN_LABEL, Card, Refusal

FORMAT = 1
"""Version of the format that is written, and the newest that can be read."""


class _Field(NamedTuple):
    """What a field of the card must be."""

    holds: Callable[[Any], bool]
    words: str


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _are_classes(value: Any) -> bool:
    names = isinstance(value, list) and all(isinstance(name, str) and name for name in value)
    return names and len(set(value)) == len(value) < UNKNOWN_LABEL


def _are_colours(value: Any) -> bool:
    triples = isinstance(value, list) and all(isinstance(rgb, list) and len(rgb) == 3 for rgb in value)
    return triples and all(_whole(level) and 0 <= level <= 255 for rgb in value for level in rgb)


def _are_splits(value: Any) -> bool:
    return isinstance(value, dict) and all(_whole(images) and images > 0 for images in value.values())


def _are_shards(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256) for sha256 in value.values()
    )


_FIELDS = {
    "name": _Field(lambda value: isinstance(value, str) and value != "", "a name"),
    "height": _Field(lambda value: _whole(value) and value > 0, "a number of pixels"),
    "width": _Field(lambda value: _whole(value) and value > 0, "a number of pixels"),
    "classes": _Field(_are_classes, "a list of at most 254 different names"),
    "colours": _Field(_are_colours, "a list of [red, green, blue] in 0..255, one a class"),
    "depth_unit": _Field(lambda value: value == "metre", "'metre' (depth_scale converts what is stored)"),
    "depth_scale": _Field(lambda value: _number(value) and value > 0, "a number above 0"),
    "feedback": _Field(lambda value: _number(value) and 0 <= value < 1, "a share from 0 to below 1"),
    "splits": _Field(_are_splits, "a table of split and number of images"),
    "shards": _Field(_are_shards, "a table of file and sha256 in hexadecimal"),
    "notes": _Field(lambda value: isinstance(value, str), "a text"),
}
_REQUIRED = ("name", "height", "width")


def parse(text: bytes, where: str) -> Card:
    """The card in a JSON text; `where` names it in refusals. What the text leaves out stays empty.

    Raises `Refusal` where a field is missing, unknown or of the wrong kind, or the format is newer.
    """
    try:
        said = json.loads(text)
    except ValueError as error:
        raise Refusal(f"{where} is no JSON ({error}): correct it there.") from error
    if not isinstance(said, dict):
        raise Refusal(f"{where} is no JSON object: see docs/data-format.md for its fields.")
    _check_version(said.pop("format", None), where)
    _check_fields(said, where)
    said.pop("depth_unit", None)
    classes, colours = said.pop("classes", ()), said.pop("colours", ())
    if colours and len(colours) != len(classes):
        raise Refusal(
            f"{where} has {len(classes)} classes but {len(colours)} colours: give one each, or none."
        )
    return Card(classes=tuple(classes), colours=tuple(tuple(rgb) for rgb in colours), **said)


def dump(card: Card) -> bytes:
    """The card as JSON text. The fingerprint is left out: it follows from the rest."""
    said: dict[str, JSON] = {"format": FORMAT, "depth_unit": "metre"}
    said |= {name: describe(value) for name, value in vars(card).items() if name in _FIELDS}
    lines = [f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in said.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def with_fingerprint(card: Card) -> Card:
    """The card with the sha256 over the shards' digests and every field that changes what a sample means.

    The name, the notes and the colours may be corrected without it becoming another data set.
    """
    meaning = {
        "format": FORMAT,
        "classes": card.classes,
        "depth_scale": float(card.depth_scale),
        "size": (card.height, card.width),
        "feedback": float(card.feedback),
        "shards": card.shards,
    }
    return replace(card, fingerprint=digest(describe(meaning)))


def _check_version(version: Any, where: str) -> None:
    if _whole(version) and version > FORMAT:
        raise Refusal(f"{where} has format {version}, and this program reads {FORMAT}: update the program.")
    if version != FORMAT:
        raise Refusal(f'{where} states no known format: write "format": {FORMAT}.')


def _check_fields(said: dict[str, Any], where: str) -> None:
    for name in _REQUIRED:
        if name not in said:
            raise Refusal(f"{where} does not state its {name}: add it.")
    for name, value in said.items():
        if name not in _FIELDS:
            # A mistyped depth_scale that is passed over would make every depth wrong.
            near = get_close_matches(name, _FIELDS, 1)
            remedy = f"did you mean '{near[0]}'?" if near else "put what you have to say into the notes."
            raise Refusal(f"{where} has an unknown field '{name}': {remedy}")
        if not _FIELDS[name].holds(value):
            raise Refusal(f"{where} has {name} {short(value)}: it must be {_FIELDS[name].words}.")
