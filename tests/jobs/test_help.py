"""`--help` reads like a manual: it lists every knob, with its type and what it means."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest

from jobs import demo, distill, evaluate, predict, prepare, sweep, teach

COMMANDS = [
    (demo.main, []),
    (distill.main, ["scenes", "--trajectory", "own-past,teacher-way"]),
    (distill.main, ["scenes", "--weighting", "static"]),
    (distill.main, ["scenes-equal"]),
    (distill.main, ["scenes-all-labels"]),
    (evaluate.main, []),
    (predict.main, []),
    (prepare.main, ["scenes"]),
    (sweep.main, ["weighting"]),
    (sweep.main, ["weighting-schedule", "--searcher", "random"]),
    (teach.main, ["scenes-depth"]),
    (teach.main, ["scenes-segmentation"]),
]
OF_A_MAPPING = ("--floors.", "--sampling.labels.", "--splits.")
"""Entries of these are named by the user; what they mean stands above them."""


def knobs(manual: str) -> Iterator[tuple[str, str]]:
    """Each flag of a manual, and what it says of it."""
    text = re.sub(r"[│╭╰╮╯─]", " ", manual)
    for entry in re.split(r"\n\s+(?=--[a-z])", text)[1:]:
        flag, *said = entry.split("\n")[0].split(maxsplit=1) + entry.split("\n")[1:]
        yield flag.rstrip(","), " ".join(said)


@pytest.mark.parametrize(
    ("job", "arguments"),
    COMMANDS,
    ids=lambda part: "-".join(part) if isinstance(part, list) else part.__module__,
)
def test_every_knob_is_described(
    job: Callable[[Sequence[str]], None], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        job([*arguments, "--help"])
    assert ended.value.code == 0
    found = dict(knobs(capsys.readouterr().out))
    assert len(found) >= 5
    for flag, said in found.items():
        meaning = re.sub(r"\(default:.*|\[?(INT|FLOAT|STR)\b.*?(?=  )|\{[^}]*\}|\[.*?\]", "", said)
        assert flag.replace("--base.", "--").startswith(OF_A_MAPPING) or re.search(r"[a-z]{2,}", meaning), (
            f"{flag}: {said}"
        )


def test_a_manual_may_be_read_through_head() -> None:
    seen_enough, manual = os.pipe()
    os.close(seen_enough)
    with os.fdopen(manual, "wb") as output:
        ended = subprocess.run(
            [sys.executable, "jobs/distill.py", "scenes", "--help"],
            stdout=output, stderr=subprocess.PIPE, timeout=120, check=False,
        )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, b"")
