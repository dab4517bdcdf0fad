"""Row 19: a teacher answers NaN, or fails. It is left out and named, or the run ends and can go on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from jointdistill.launch import train as launching
from jointdistill.launch.run import run
from jointdistill.teachers.registered import RegisteredTeacher
from jointdistill.types import Batch, Prediction
from tests.faults import waiting
from tests.faults.oracle import Attempts, die_at, end, straight, work
from tests.faults.workers import Watcher, experiment, launch, worker


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    with waiting.for_snapshots():
        yield


@contextmanager
def answering(spoil) -> Iterator[None]:  # type: ignore[no-untyped-def]
    """Teachers whose answers to training batches are spoilt."""
    forward = RegisteredTeacher.forward

    def sick(self: RegisteredTeacher, batch: Batch) -> Prediction:
        said = forward(self, batch)
        if torch.is_grad_enabled() or batch.position.seed or batch.position.step:
            spoil(said, batch)
        return said

    with patch.object(RegisteredTeacher, "forward", sick):
        yield


def nan(said: Prediction, batch: Batch) -> None:
    for answer in said.answers.values():
        answer[0] = torch.nan


def test_row_19_a_teacher_that_turns_nan_is_left_out_exactly_after_a_resume(
    tmp_path: Path, record_property
) -> None:
    mine = work(tmp_path)
    with answering(nan):
        expected = straight(mine)
        attempts = Attempts(replace(mine, run="sick"))
        assert not attempts.go(die_at(8))
        assert attempts.go()
    assert expected.differences(end(attempts.work)) == []
    assert all(math.isfinite(value) for value in expected.series.values())
    assert max(value for (_, name), value in expected.series.items() if name == "unsound_images") > 0
    assert any("was not finite on some images" in note for note in attempts.notes)
    record_property("lost", "nothing; the images are named")
    record_property("recomputed", f"{attempts.recomputed} steps")


def test_row_19_a_teacher_that_fails_ends_the_run_which_goes_on_when_it_is_well(
    tmp_path: Path, record_property
) -> None:
    mine = work(tmp_path)
    expected = straight(mine)
    attempts = Attempts(replace(mine, run="failed"))

    def fail(said: Prediction, batch: Batch) -> None:
        if batch.position.step == 7:
            raise ValueError("the teacher's weights are on strike")

    with answering(fail), pytest.raises(ValueError, match="on strike"):
        attempts.go()
    assert attempts.go()
    assert "Going on from step 6 of 12." in attempts.notes
    assert expected.differences(end(attempts.work)) == []
    record_property("lost", "nothing; the run ended with what the teacher raised")
    record_property("recomputed", f"{attempts.recomputed} steps")


def failing_worker(config: dict[str, Any]) -> object:
    """A worker whose second rank fails at step 7."""

    def fail(said: Prediction, batch: Batch) -> None:
        if batch.position.step == 7 and config["rank"] == 1:
            raise ValueError("the teacher's weights are on strike")

    from ray.train import get_context

    config["rank"] = get_context().get_world_rank()
    with answering(fail):
        return worker(config)


@pytest.mark.ray
@pytest.mark.timeout(200)
def test_row_19_what_one_rank_raises_ends_the_run_and_is_raised_in_the_driver(
    tmp_path: Path, record_property
) -> None:
    watcher = Watcher()
    with (
        patch.object(launching, "_worker", failing_worker),
        pytest.raises(ValueError, match="on strike") as raised,
    ):
        run(experiment(tmp_path, steps=12), launch(tmp_path, "mine"), watcher)
    assert "On rank 1:" in "".join(raised.value.__notes__)
    assert "in fail" in "".join(raised.value.__notes__)
    assert not watcher.resumed  # it was not tried again
    record_property("lost", "nothing; the driver says which rank raised what, and where")
    record_property("recomputed", "nothing: it was not tried again")
