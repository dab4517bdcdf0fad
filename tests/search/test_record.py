"""What a sweep writes of its runs while MLflow takes some of it, and some not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from jointdistill.engine.subject import Subject
from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.engine.tracking import Tracking
from jointdistill.search import record as recording
from jointdistill.search.answers import Answer
from jointdistill.search.posts import Begun, Paused, Posted
from jointdistill.search.record import Record
from jointdistill.types import Refusal, StepReport
from tests.engine.tracked import subject, track


def test_a_run_that_cannot_be_written_holds_up_no_other_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = track(tmp_path)
    answer = Answer({"delta_m": 0.1}, seconds=8.0, gpu_hours=0.0, teacher_s=2.0)
    posted: list[Posted] = [
        *(Begun(run, subject(seed)) for seed, run in enumerate(("first", "second"))),
        *(Paused(run, 10, answer, None) for run in ("first", "second")),
    ]
    write, refused = TrackedRun.report, []

    def report(run: TrackedRun, *reports: StepReport) -> None:
        if reports and not refused:
            refused.append(run)
            raise OSError("no space left on device")
        write(run, *reports)

    parent = tracking.open("sweep", subject(2))
    monkeypatch.setattr(TrackedRun, "report", report)

    def collected() -> list[Posted]:
        said = posted[:]
        posted.clear()
        return said

    with Record(tracking, parent, collected, lambda sentence: None, every_s=0.05) as record:
        for _ in range(400):
            if sum(len(told.paused) for told in record._runs.values()) == 2:
                break
            record._ended.wait(0.05)
    (run,) = refused
    found = {
        each.info.run_name: each.data.metrics["cost/seconds"]
        for each in tracking.client.search_runs([tracking.experiment_id])
        if each.info.run_name != "sweep"
    }
    assert found == {"first": 8.0, "second": 8.0}
    assert run.run_id in {told.record.run_id for told in record._runs.values() if told.record}


def test_a_server_that_hangs_is_left_alone_for_a_while_and_then_told_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "LONG_S", 0.01)
    tracking, runs = track(tmp_path), [f"run-{number}" for number in range(9)]
    told = [each for run in runs for each in (Begun(run, subject()), Paused(run, 10, Answer(), None))]
    posted: list[list[Posted]] = [[], [*told]]
    asked, answers = [], []

    def opened(tracking: Tracking, run: str, subject: Subject) -> TrackedRun:
        asked.append(run)
        if not answers:
            time.sleep(0.05)
            raise Refusal("MLflow does not answer.")
        return open_run(tracking, run, subject)

    open_run, parent = Tracking.open, tracking.open("sweep", subject(2))
    monkeypatch.setattr(Tracking, "open", opened)

    with Record(
        tracking, parent, lambda: posted.pop() if posted else [], lambda sentence: None, every_s=0.01
    ):
        time.sleep(0.4)
        assert asked == runs[:1]  # one question, and half a second of rest
        answers.append("it is there again")
    found = tracking.client.search_runs([tracking.experiment_id])
    assert {each.info.run_name for each in found} == {"sweep", *runs}


def test_a_run_that_is_refused_at_once_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking, open_run = track(tmp_path), Tracking.open

    def opened(tracking: Tracking, run: str, subject: Subject) -> TrackedRun:
        if run == "first":
            raise Refusal("MLflow does not take its names.")
        return open_run(tracking, run, subject)

    posted: list[Posted] = [
        each
        for run in ("first", "second")
        for each in (Begun(run, subject()), Paused(run, 10, Answer(), None))
    ]
    parent = tracking.open("sweep", subject(2))
    monkeypatch.setattr(Tracking, "open", opened)
    with Record(tracking, parent, lambda: [posted.pop(0) for _ in posted[:]], lambda sentence: None):
        pass
    found = tracking.client.search_runs([tracking.experiment_id])
    assert {each.info.run_name for each in found} == {"sweep", "second"}
