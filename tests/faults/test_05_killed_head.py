"""Row 5: kill -9 of a cluster's head and all on it. On a fresh cluster the same job goes on."""

from __future__ import annotations

import os
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

from jointdistill.engine.snapshot import Snapshots
from jointdistill.store.objects import open_store
from tests.engine.tracked import track
from tests.faults.test_04_sigterm import SUBMIT, job, only_run, wait_for_steps, wait_for_text
from tests.jobs.head import head
from tests.jobs.order import small_flags

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(500)]

STEPS, EVERY = 400, 20


def test_row_5_a_killed_head_costs_one_interval(tmp_path: Path, record_property) -> None:
    flags = [*small_flags(tmp_path), "--storage", f"{tmp_path}/there", "--run", "mine", "--register", "mine"]
    flags += ["--optimise.steps", str(STEPS), "--snapshot-every", str(EVERY)]
    database = tmp_path / "there" / "mlflow.db"
    track(tmp_path / "there")  # two that make its tables at the same time would each fail
    snapshots = Snapshots(open_store(f"{tmp_path}/there"), "mine")
    with head() as environment:
        job(environment, "submit", "--no-wait", *SUBMIT, *flags)
        wait_for_steps(database)
        while not snapshots.manifests():  # the test's own limit ends this
            time.sleep(0.05)
        kill_all()
    begun = only_run(database, "small")
    newest = snapshots.manifests()[0].step
    assert newest < STEPS
    with head() as environment:
        submitted = job(environment, "submit", "--no-wait", *SUBMIT, *flags)
        (name,) = set(re.findall(r"raysubmit_\w+", submitted))
        said = wait_for_text(environment, name, "Registered models:/mine/1", 200)
    assert f"Going on from step {newest} of {STEPS}." in said
    finished = only_run(database, "small")
    assert finished.info.run_id == begun.info.run_id
    client = MlflowClient(tracking_uri=f"sqlite:///{database}")
    assert len(client.search_model_versions("name = 'mine'")) == 1
    series = [point.step for point in client.get_metric_history(finished.info.run_id, "gradient_norm")]
    assert sorted(series) == list(range(10, STEPS + 1, 10))
    record_property("lost", "nothing; one version in the registry, one row a step in MLflow")
    record_property("recomputed", f"at most {EVERY} steps")


def kill_all() -> None:
    """kill -9 of the head that this process started, and of all below it."""
    (ours,) = [
        child for child in psutil.Process(os.getpid()).children() if "--head" in " ".join(child.cmdline())
    ]
    for process in [*ours.children(recursive=True), ours]:
        with suppress(psutil.NoSuchProcess):  # some end with those that were killed before them
            process.send_signal(signal.SIGKILL)
