"""What is recorded of a run, and what happens to it while MLflow is away."""

from __future__ import annotations

import logging
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from jointdistill.engine.lineage import commit, package_digest
from jointdistill.engine.subject import Subject
from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.engine.tracking import Tracking
from jointdistill.experiment import Experiment
from jointdistill.store.objects import open_store
from jointdistill.tasks.depth import Depth
from jointdistill.types import Refusal
from jointdistill.weighting.equal import Equal
from tests.engine.tracked import report, subject, track


def series(run: TrackedRun, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in run.client.get_metric_history(run.run_id, key)]


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    return track(tmp_path)


def test_a_run_says_what_it_computed_and_from_what(tracking: Tracking) -> None:
    run = tracking.open("demo-1", subject(seed=7, expert="abc"))
    data = run.client.get_run(run.run_id).data
    assert data.params["seed"] == "7"
    assert data.params["weighting.recipe"] == "Equal"
    assert data.tags["jointdistill.identity"] == subject(seed=7, expert="abc").identity
    assert data.tags["jointdistill.data"] == "data-fingerprint"
    assert data.tags["jointdistill.teacher.expert"] == "abc"
    assert data.tags["jointdistill.package"] == package_digest()
    assert data.tags.get("mlflow.source.git.commit", "") == commit()


def test_an_interval_is_one_batch_with_its_step(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tracking.open("demo-1", subject())
    batches = []
    sent = MlflowClient.log_batch
    monkeypatch.setattr(
        MlflowClient, "log_batch", lambda *a, **k: batches.append(k["metrics"]) or sent(*a, **k)
    )
    run.report(report(20, images_per_s=3.0, learning_rate=math.nan))
    assert [len(batch) for batch in batches] == [3]
    assert series(run, "loss/labels/depth") == [(20, 0.05)]


ASK_FOR_THE_EXPERIMENT = """
import sys
from jointdistill.engine.subject import Subject
from jointdistill.engine.tracking import Tracking
from jointdistill.store.objects import open_store
print(Tracking.at(f"sqlite:///{sys.argv[1]}/mlflow.db", "demo", open_store(sys.argv[1])).experiment_id)
"""


def test_jobs_that_start_together_find_one_database(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASK_FOR_THE_EXPERIMENT, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=120)[0].split() for process in started]
    assert said == [["1"]] * 3


def test_a_run_of_the_same_identity_goes_on(tracking: Tracking) -> None:
    first = tracking.open("demo-1", subject())
    first.report(report(20))
    first.report(report(40))
    first.close("KILLED")
    second = tracking.open("demo-1", subject())
    assert second.run_id == first.run_id
    assert second.client.get_run(second.run_id).info.status == "RUNNING"
    for step in (40, 60):  # a resumed run walks over a part of its way again
        second.report(report(step))
    assert [step for step, _ in series(second, "loss/labels/depth")] == [20, 40, 60]
    assert tracking.open("demo-2", subject(seed=1)).run_id != first.run_id
    assert tracking.open("demo-1-2", subject()).run_id != first.run_id  # begun afresh, under another name


def test_only_a_finished_run_is_found_as_finished(tracking: Tracking) -> None:
    with pytest.raises(ZeroDivisionError), tracking.open("demo-1", subject()) as run:
        assert tracking.finished("demo-1", subject()) is None
        raise ZeroDivisionError
    assert run.client.get_run(run.run_id).info.status == "FAILED"
    with pytest.raises(KeyboardInterrupt), tracking.open("demo-1", subject()) as run:
        raise KeyboardInterrupt
    assert run.client.get_run(run.run_id).info.status == "KILLED"
    with tracking.open("demo-1", subject()) as run:
        run.report(report(20))
    done = tracking.finished("demo-1", subject())
    assert done is not None
    assert done.run_id == run.run_id
    assert tracking.finished("demo-2", subject()) is None
    assert tracking.finished("demo-1", subject(seed=1)) is None


def test_what_other_code_computed_is_found_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    tracking = track(tmp_path)
    tracking = replace(tracking, patience=replace(tracking.patience, say=said.append))
    with tracking.open("demo-1", subject()) as run:
        run.report(report(20))
    assert tracking.finished("demo-1", subject()) and not said
    run.client.set_tag(run.run_id, "jointdistill.package", "of yesterday")
    assert tracking.finished("demo-1", subject())
    assert said == ["demo-1 was computed by other code than today's: --fresh runs it again."]


def test_pictures_and_files_are_artifacts_beside_the_database(tracking: Tracking, tmp_path: Path) -> None:
    run = tracking.open("demo-1", subject())
    run.picture("validation-000600.png", b"a picture")
    run.file("report.md", b"# Words")
    folder = tmp_path / "artifacts" / run.run_id / "artifacts"
    assert (folder / "pictures" / "validation-000600.png").read_bytes() == b"a picture"
    assert (folder / "report.md").read_bytes() == b"# Words"


def test_neither_the_environment_nor_an_active_run_redirects_it(
    tracking: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    monkeypatch.setenv("A_SECRET", "hunter2-of-the-environment")
    run = tracking.open("demo-1", subject())
    said = run.client.get_run(run.run_id)
    assert said.info.experiment_id == tracking.experiment_id != "0"
    assert not (tmp_path / "elsewhere.db").exists()
    assert "hunter2" not in f"{said.to_dictionary()}"


def test_telemetry_is_off(tracking: Tracking) -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_server_that_does_not_answer_is_refused_without_its_password(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(Refusal, match=f"MLflow at http://127.0.0.1:{port} failed .*start it") as refused:
        track(tmp_path, f"http://me:secret@127.0.0.1:{port}")
    assert "secret" not in str(refused.value)


def test_a_name_that_mlflow_cannot_take_is_refused(tracking: Tracking) -> None:
    odd = Experiment("odd", {"d!epth": Depth()}, Equal())
    with pytest.raises(Refusal, match="d!epth"):
        tracking.open("demo-1", Subject.of(odd, "data-fingerprint", {}))


# -- outages -----------------------------------------------------------------------------------------


class Outage:
    """MLflow goes away and comes back, as its client sees it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.on = False
        for name in ("log_batch", "log_artifact", "set_terminated"):
            monkeypatch.setattr(MlflowClient, name, self._or(getattr(MlflowClient, name)))

    def _or(self, method):
        def call(*args, **knobs):
            if self.on:
                raise MlflowException("no answer")
            return method(*args, **knobs)

        return call


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Outage:
    return Outage(monkeypatch)


def test_what_an_outage_held_up_is_written_with_the_next_interval(tracking: Tracking, outage: Outage) -> None:
    run = tracking.open("demo-1", subject())
    run.report(report(20))
    outage.on = True
    run.report(report(40))
    run.picture("strip.png", b"a picture")
    run.report(report(60))
    outage.on = False
    run.report(report(80))
    assert [step for step, _ in series(run, "loss/labels/depth")] == [20, 40, 60, 80]
    assert [file.path for file in run.client.list_artifacts(run.run_id, "pictures")] == ["pictures/strip.png"]


@pytest.mark.parametrize("wrong", [PermissionError("/mlflow"), ModuleNotFoundError("boto3")], ids=str)
def test_an_artifact_store_that_is_closed_holds_up_no_point_and_no_status(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: Exception
) -> None:
    def closed(*arguments: object) -> None:
        raise wrong

    run = tracking.open("demo-1", subject())
    with monkeypatch.context() as store:
        store.setattr(MlflowClient, "log_artifact", closed)
        run.picture("strip.png", b"a picture")
        run.report(report(20))
        run.close("FINISHED")
    assert [step for step, _ in series(run, "loss/labels/depth")] == [20]
    assert run.client.get_run(run.run_id).info.status == "FINISHED"
    (said,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert said.startswith(f"MLflow's artifact store took no files of run {run.run_id}: 1 wait in")
    run = tracking.open("demo-1", subject())
    assert [file.path for file in run.client.list_artifacts(run.run_id, "pictures")] == ["pictures/strip.png"]


def test_what_was_never_written_is_spooled_loudly_and_sent_when_the_run_goes_on(
    tracking: Tracking, outage: Outage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tracking.open("demo-1", subject())
    outage.on = True
    for step in (20, 40):
        run.report(report(step, **{"val/depth/abs_rel": math.nan}))
    run.close("FINISHED")
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert f"2 entries wait in {tmp_path}/store/spool/{run.run_id}" in said.message
    outage.on = False
    assert tracking.finished("demo-1", subject()) is None
    for _ in range(2):
        run = tracking.open("demo-1", subject())
        assert [step for step, _ in series(run, "loss/labels/depth")] == [20, 40]
        assert [step for step, _ in series(run, "val/depth/abs_rel")] == [20, 40]
    assert not list(open_store(str(tmp_path / "store")).list("spool"))
