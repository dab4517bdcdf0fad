"""Row 4: SIGTERM to the driver, by hand or by `ray job stop`: a snapshot, KILLED in MLflow, on it goes."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jointdistill.engine.snapshot import Snapshots
from jointdistill.store.objects import open_store
from tests.engine.tracked import track
from tests.faults.workers import STEPS, Watcher, driver, ended, launch, straight, train
from tests.jobs.head import head
from tests.jobs.order import small_flags

ROOT = Path(__file__).parents[2]


def only_run(database: Path, experiment: str):
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    (found,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=[pytest.mark.ray, pytest.mark.slow])])
def test_row_4_sigterm_takes_a_snapshot_and_the_same_command_goes_on(
    tmp_path: Path, workers: int, record_property
) -> None:
    told = launch(tmp_path, "stopped", workers, snapshot_every=1000)
    with driver(tmp_path, workers, "stopped") as process:
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 143, complaints
    assert "with a snapshot: the same command, without --fresh, goes on from there." in complaints
    assert "Traceback" not in complaints
    assert "Aborted" not in complaints
    snapshots = Snapshots(open_store(told.storage), "stopped")
    (manifest,) = snapshots.manifests()
    assert 0 < manifest.step < STEPS
    stopped = {found.info.run_name: found for found in all_runs(tmp_path / "mlflow.db", "small")}["stopped"]
    assert stopped.info.status == "KILLED"
    watcher = Watcher()
    train(tmp_path, told, watcher)
    assert watcher.resumed == [manifest.step]
    finished = {found.info.run_name: found for found in all_runs(tmp_path / "mlflow.db", "small")}["stopped"]
    assert (finished.info.status, finished.info.run_id) == ("FINISHED", stopped.info.run_id)
    assert straight(workers).differences(ended(tmp_path, told)) == []
    record_property("lost", "nothing")
    record_property("recomputed", "0 steps")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_row_4_a_job_that_waits_for_machines_ends_when_it_is_stopped(tmp_path: Path, record_property) -> None:
    flags = [*small_flags(tmp_path), "--storage", f"{tmp_path}/there", "--run", "mine"]
    flags += ["--workers", "2", "--device", "cpu"]
    patient = {"JOINTDISTILL_AUTOSCALES": "1", "RAY_JOB_STOP_WAIT_TIME_S": "100"}
    with head(0, environment=patient) as environment:
        submitted = job(environment, "submit", "--no-wait", *SUBMIT, *flags)
        (name,) = set(re.findall(r"raysubmit_\w+", submitted))
        wait_for_text(environment, name, "2 need 2 CPUs")
        began = time.monotonic()
        job(environment, "stop", name)
        while time.monotonic() - began < 100 and "was stopped" not in job(environment, "status", name):
            time.sleep(0.5)
        assert time.monotonic() - began < 30
        said = job(environment, "logs", name)
    assert "Stopped before it could keep a snapshot: the same command" in said
    assert "Traceback" not in said
    assert only_run(tmp_path / "there" / "mlflow.db", "small").info.status == "KILLED"
    record_property("lost", "nothing")
    record_property("recomputed", "nothing")


def all_runs(database: Path, experiment: str):
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_row_4_a_stopped_job_goes_on_when_it_is_submitted_again(tmp_path: Path, record_property) -> None:
    flags = [*small_flags(tmp_path), "--storage", f"{tmp_path}/there", "--run", "mine"]
    flags += ["--optimise.steps", "100000", "--snapshot-every", "100000"]
    track(tmp_path / "there")  # two that make its tables at the same time would each fail
    with head() as environment:
        submitted = job(environment, "submit", "--no-wait", *SUBMIT, *flags)
        (name,) = set(re.findall(r"raysubmit_\w+", submitted))
        wait_for_steps(tmp_path / "there" / "mlflow.db")
        job(environment, "stop", name)
        status = job(environment, "status", name)
        assert "was stopped" in status
        (manifest,) = Snapshots(open_store(f"{tmp_path}/there"), "mine").manifests()
        stopped = only_run(tmp_path / "there" / "mlflow.db", "small")
        assert stopped.info.status == "KILLED"
        again = job(environment, "submit", "--no-wait", *SUBMIT, *flags)
        (name,) = set(re.findall(r"raysubmit_\w+", again))
        said = wait_for_text(environment, name, "Going on from step")
        assert f"Going on from step {manifest.step} of 100000." in said
        job(environment, "stop", name)
        assert only_run(tmp_path / "there" / "mlflow.db", "small").info.run_id == stopped.info.run_id
    record_property("lost", "nothing")
    record_property("recomputed", "0 steps")


SUBMIT = (
    "--working-dir", ".", "--runtime-env", "cluster/runtime-env.yaml",
    "--", "python", "jobs/distill.py", "scenes",
)  # fmt: skip


def job(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        ["ray", "job", *words],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def wait_for_steps(database: Path, seconds: float = 120) -> None:
    """Until a report stands in MLflow."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if database.exists():
            client = MlflowClient(tracking_uri=f"sqlite:///{database}")
            experiment = client.get_experiment_by_name("small")
            runs = client.search_runs([experiment.experiment_id]) if experiment else []
            if any("gradient_norm" in found.data.metrics for found in runs):
                return
        time.sleep(0.5)
    raise AssertionError("nothing was reported")


def wait_for_text(environment: dict[str, str], name: str, text: str, seconds: float = 120) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        said = job(environment, "logs", name)
        if text in said:
            return said
        time.sleep(0.5)
    raise AssertionError(said)
