"""A cluster whose head trains nothing grows for a job, and shrinks after it: the real autoscaler of
cluster/fake.yaml, whose machines are raylets on this one. `make cluster-test`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from tests.engine.tracked import track
from tests.jobs.head import BIN, asked, head
from tests.jobs.order import small_flags
from tests.jobs.test_sweep import flags as sweep_flags

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
IDLE_S = 12


@dataclass
class Machines:
    """How many machines a cluster had beside its head, as time went by."""

    counts: list[int] = field(default_factory=list)

    @property
    def most(self) -> int:
        """At any time."""
        return max(self.counts, default=0)

    def wait_for(self, fits: Callable[[int], bool], seconds: float) -> None:
        """Until the number now fits."""
        until = time.monotonic() + seconds
        while not (self.counts and fits(self.counts[-1])):
            assert time.monotonic() < until, f"machines: {self.counts}"
            time.sleep(0.5)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A head without a core, with cluster/fake.yaml but for the port and a shorter patience."""

    def grows(port: int) -> Path:
        there = yaml.safe_load((ROOT / "cluster" / "fake.yaml").read_text())
        there["provider"]["gcs_address"] = f"127.0.0.1:{port}"
        there["idle_timeout_minutes"] = IDLE_S / 60
        file = tmp_path_factory.mktemp("cluster") / "fake.yaml"
        file.write_text(yaml.safe_dump(there))
        return file

    environment = {
        "PYTHONPATH": f"{ROOT / 'platform'}:{ROOT}",
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "JOINTDISTILL_AUTOSCALES": "1",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    }
    with head(0, environment, grows) as submits:
        yield submits


@contextmanager
def watched(cluster: Mapping[str, str]) -> Iterator[Machines]:
    """The machines while the block lasts, twice a second."""
    machines, ended = Machines(), threading.Event()

    def look() -> None:
        while not ended.wait(0.5):
            try:
                said = json.loads(asked("/api/v0/nodes", cluster))["data"]["result"]["result"]
            except OSError:
                continue
            alive = [node for node in said if node["state"] == "ALIVE" and not node["is_head_node"]]
            machines.counts.append(len(alive))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield machines
    finally:
        ended.set()
        thread.join()


def submit(cluster: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """A job, to its end. Its code lies on every machine and does not travel: these machines share one folder,
    and for each new one Ray would unpack the code afresh, under the feet of those that run."""
    command = [str(BIN / "ray"), "job", "submit", "--", sys.executable, str(ROOT / words[0]), *words[1:]]
    return subprocess.run(
        command, env={**cluster}, text=True, capture_output=True, timeout=300, check=False
    )  # fmt: skip


def test_a_distillation_brings_two_machines_and_lets_them_go(cluster: dict[str, str], tmp_path: Path) -> None:
    told = [*small_flags(tmp_path), "--storage", f"{tmp_path}/there", "--device", "cpu", "--workers", "2"]
    with watched(cluster) as machines:
        machines.wait_for(lambda count: count == 0, 20)
        done = submit(cluster, "jobs/distill.py", "scenes", *told)
        assert done.returncode == 0, done.stdout + done.stderr
        assert machines.most == 2
        machines.wait_for(lambda count: count == 0, IDLE_S + 60)
    assert len([*(tmp_path / "there" / "runs").glob("*/result.json")]) == 1


def test_a_sweep_brings_as_many_as_its_trials_can_use(cluster: dict[str, str], tmp_path: Path) -> None:
    track(tmp_path)
    told = [*sweep_flags(tmp_path), "--device", "cpu", "--trials", "4", "--objectives", "segmentation/miou"]
    with watched(cluster) as machines:
        machines.wait_for(lambda count: count == 0, IDLE_S + 60)
        done = submit(cluster, "jobs/sweep.py", "weighting", *told)
        assert done.returncode == 0, done.stdout + done.stderr
        assert machines.most == 2
        machines.wait_for(lambda count: count == 0, IDLE_S + 60)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "weighting"]
    trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in trials) == [f"weighting-{number:03d}" for number in range(4)]
