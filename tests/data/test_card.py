from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from jointdistill.data.card import dump, parse, with_fingerprint
from jointdistill.types import Card, Refusal

SAID: dict[str, Any] = {"format": 1, "name": "tiny", "height": 4, "width": 6}
FULL = Card(
    name="Küche",
    classes=("floor", "cup"),
    colours=((0, 0, 0), (255, 9, 9)),
    depth_scale=256,
    height=4,
    width=6,
    splits={"train": 3},
    feedback=0.05,
    shards={"train-00000.parquet": "0" * 64},
    notes="Two\nlines.",
)


def read(**fields: Any) -> Card:
    return parse(json.dumps(SAID | fields).encode(), "card.json in mine")


def test_a_card_comes_back_as_it_was() -> None:
    assert parse(dump(FULL), "card") == FULL


def test_a_short_card_is_enough() -> None:
    assert read() == Card(name="tiny", height=4, width=6)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": 2}, "has format 2, and this program reads 1: update the program"),
        ({"format": None}, "states no known format"),
        ({"name": ""}, "name '': it must be a name"),
        ({"height": 4.5}, "height 4.5: it must be a number of pixels"),
        ({"width": True}, "width True"),
        ({"classes": ["cup", "cup"]}, "different names"),
        ({"classes": [str(number) for number in range(255)]}, "at most 254"),
        ({"classes": ["cup"], "colours": [[0, 0, 256]]}, "colours"),
        ({"classes": ["cup"], "colours": [[0, 0, 0], [1, 1, 1]]}, "1 classes but 2 colours"),
        ({"depth_unit": "centimetre"}, "must be 'metre'"),
        ({"depth_scale": 0}, "above 0"),
        ({"depth_scale": float("nan")}, "above 0"),
        ({"feedback": 1}, "share"),
        ({"splits": {"train": 0}}, "splits"),
        ({"shards": {"train-00000.parquet": "abc"}}, "sha256"),
        ({"depthscale": 256}, "unknown field 'depthscale': did you mean 'depth_scale'"),
        ({"licence": "MIT"}, "put what you have to say into the notes"),
    ],
)
def test_a_wrong_field_is_named_with_its_remedy(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence) as refusal:
        read(**fields)
    assert str(refusal.value).startswith("card.json in mine ")


@pytest.mark.parametrize("name", ["name", "height", "width"])
def test_a_missing_field_is_named(name: str) -> None:
    said = {field: value for field, value in SAID.items() if field != name}
    with pytest.raises(Refusal, match=f"does not state its {name}"):
        parse(json.dumps(said).encode(), "card.json")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[]"])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(Refusal, match="is no JSON"):
        parse(text, "card.json")


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ("cup", "floor")},
        {"depth_scale": 1000},
        {"height": 5},
        {"feedback": 0.1},
        {"shards": {"train-00000.parquet": "1" * 64}},
        {"shards": {"val-00000.parquet": "0" * 64}},
    ],
)
def test_what_changes_a_sample_changes_the_fingerprint(change: dict[str, Any]) -> None:
    assert with_fingerprint(replace(FULL, **change)).fingerprint != with_fingerprint(FULL).fingerprint


def test_words_do_not_change_the_fingerprint() -> None:
    other = replace(FULL, name="Kitchen", notes="", colours=(), depth_scale=256.0)
    assert with_fingerprint(other).fingerprint == with_fingerprint(FULL).fingerprint
