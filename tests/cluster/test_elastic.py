"""`--workers 1:2` goes on with what there is: it grows when a machine joins, and shrinks when one is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from jointdistill.launch.run import run
from jointdistill.launch.settle import result
from jointdistill.store.objects import open_store
from tests.cluster.elastic import EVERY, STEPS
from tests.faults.workers import ROOT, experiment, launch
from tests.jobs.head import alone

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(500)]


def test_a_run_grows_and_shrinks_with_its_cluster_and_sees_the_same_batches(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.elastic", str(tmp_path)],
        cwd=ROOT, env=alone() | {"PYTHONPATH": f"platform{os.pathsep}."}, text=True,
        capture_output=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["seen"] == [1, 2, 2, 1]
    grown, shrunk = told["resumed"]
    assert 0 < grown < shrunk < STEPS and not grown % EVERY and not shrunk % EVERY
    lost = [note for note in told["notes"] if note.startswith("Lost")]
    assert len(lost) == 1  # to grow is no loss

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    (elastic,) = [found for found in runs if found.info.run_name == "elastic"]
    series = Counter(p.step for p in client.get_metric_history(elastic.info.run_id, "gradient_norm"))
    assert series == Counter(range(10, STEPS + 1, 10))

    # The same images in the same order whatever the number of workers: equal up to the order of sums.
    alike = run(experiment(tmp_path, STEPS), launch(tmp_path, "alone", workers=0), lambda message: None)
    trained = result(open_store(str(tmp_path / "storage")), "elastic")
    assert trained is not None and trained.scores == pytest.approx(alike.scores, rel=0.1)
