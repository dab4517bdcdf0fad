"""What the tests about jobs share: the command line of a distillation of seconds, and its refusal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from jointdistill.launch.command import carry_out
from tests.engine import small

Job = Callable[[Sequence[str]], None]


def small_flags(folder: Path) -> list[str]:
    """Flags of `jobs/distill.py scenes` for the data and teachers of `tests.engine.small`, which are written
    to the folder first; the storage is left to the caller."""
    small.experiment(folder)
    return [
        *("--data", f"{folder}/storage/data/small", "--cache", f"{folder}/cache"),
        *("--teachers.depth.model", f"{folder}/teachers/depth", "--floors.depth/abs-rel", "1e9"),
        *(
            "--teachers.segmentation.model",
            f"{folder}/teachers/segmentation",
            "--floors.segmentation/miou",
            "0",
        ),
        *("--student.width", "4", "--student.decoder", "8", "--optimise.steps", "20", "--report-every", "10"),
        *("--sampling.labels.depth", "0.4", "--sampling.labels.segmentation", "0.4"),
        *("--threads", "1", "--register", ""),
    ]


class Refused:
    """Calls a job that must refuse; gives the sentence it ends with."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, job: Job, *arguments: str) -> str:
        said = self.ended(job, *arguments)
        (sentence,) = said.splitlines()
        assert sentence.startswith("error: "), said
        assert sentence.endswith((".", "?")), said
        return sentence.removeprefix("error: ")

    def ended(self, job: Job, *arguments: str) -> str:
        """What stands on stderr after the job ended with 2."""
        self._monkeypatch.setattr(sys, "argv", ["jobs/job.py", *arguments])
        with pytest.raises(SystemExit) as end:
            carry_out(job)
        said = self._capsys.readouterr()
        assert end.value.code == 2, said
        assert "Traceback" not in said.out + said.err
        return said.err
