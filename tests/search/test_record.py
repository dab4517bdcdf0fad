"""What a sweep writes of its runs while MLflow takes some of it, and some not."""

from __future__ import annotations

from pathlib import Path

import pytest

from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.search.answers import Answer
from jointdistill.search.posts import Begun, Paused, Posted
from jointdistill.search.record import Record
from jointdistill.types import StepReport
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
            if len(record._paused) == 2:
                break
            record._ended.wait(0.05)
    (run,) = refused
    found = {
        each.info.run_name: each.data.metrics["cost/seconds"]
        for each in tracking.client.search_runs([tracking.experiment_id])
        if each.info.run_name != "sweep"
    }
    assert found == {"first": 8.0, "second": 8.0}
    assert run.run_id in {each.run_id for each in record._open.values()}
