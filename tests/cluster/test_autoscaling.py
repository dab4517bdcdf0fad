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

import psutil
import pytest
import yaml
from mlflow import MlflowClient

from jointdistill.engine.claims import Claims
from jointdistill.engine.snapshot import Snapshots
from jointdistill.store.objects import open_store
from tests.engine.tracked import track
from tests.jobs.head import BIN, asked, head
from tests.jobs.order import small_flags
from tests.jobs.test_sweep import flags as sweep_flags

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(500)]

ROOT = Path(__file__).parents[2]
IDLE_S = 12
TAKEN_STEPS = 1000


@dataclass
class Machines:
    """The machines that a cluster had beside its head, as time went by."""

    seen: list[list[str]] = field(default_factory=list)
    """Their ids."""

    @property
    def counts(self) -> list[int]:
        """How many."""
        return [len(there) for there in self.seen]

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

    addresses: dict[str, str] = {}

    def grows(port: int) -> Path:
        there = yaml.safe_load((ROOT / "cluster" / "fake.yaml").read_text())
        there["provider"]["gcs_address"] = addresses["gcs"] = f"127.0.0.1:{port}"
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
        yield submits | {"GCS": addresses["gcs"]}


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
            machines.seen.append([node["node_id"] for node in alive])

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield machines
    finally:
        ended.set()
        thread.join()


def submitted(cluster: Mapping[str, str], *words: str) -> subprocess.Popen[str]:
    """A job. Its code lies on every machine and does not travel: these machines share one folder,
    and for each new one Ray would unpack the code afresh, under the feet of those that run."""
    command = [str(BIN / "ray"), "job", "submit", "--", sys.executable, str(ROOT / words[0]), *words[1:]]
    return subprocess.Popen(
        command, env={**cluster}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )  # fmt: skip


def wait(until: Callable[[], bool], seconds: float) -> None:
    """Until something is so."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.2)


def raylet_of(machine: str) -> psutil.Process:
    """The process that is a machine here."""
    (raylet,) = [
        process for process in psutil.process_iter(["cmdline"])
        if f"--node_id={machine}" in (process.info["cmdline"] or [])
    ]  # fmt: skip
    return raylet


def trains(machine: str) -> bool:
    """Whether a worker of Ray Train runs there."""
    there = [process.cmdline() for process in raylet_of(machine).children()]
    return any("RayTrainWorker" in word for words in there for word in words)


def carried_out(job: subprocess.Popen[str], seconds: float = 300) -> None:
    """Wait for its end, which must be a good one."""
    try:
        job.wait(seconds)
    except subprocess.TimeoutExpired:
        job.kill()
    said, _ = job.communicate()
    assert job.returncode == 0, said


def test_a_distillation_brings_two_machines_and_lets_them_go(cluster: dict[str, str], tmp_path: Path) -> None:
    told = [*small_flags(tmp_path), "--storage", f"{tmp_path}/there", "--device", "cpu", "--workers", "2"]
    with watched(cluster) as machines:
        machines.wait_for(lambda count: count == 0, 20)
        carried_out(submitted(cluster, "jobs/distill.py", "scenes", *told))
        assert machines.most == 2
        machines.wait_for(lambda count: count == 0, IDLE_S + 60)
    assert len([*(tmp_path / "there" / "runs").glob("*/result.json")]) == 1


def test_a_machine_that_is_taken_away_costs_a_run_nothing(cluster: dict[str, str], tmp_path: Path) -> None:
    """A preemption notice, then the machine's end: the run goes on on another one. It may shrink, since Ray's
    fake provider takes a machine that died by itself for one that is still coming, and starts no other."""
    told = [*small_flags(tmp_path), "--storage", f"{tmp_path}/there", "--device", "cpu", "--workers", "1:2"]
    told += ["--run", "taken", "--optimise.steps", str(TAKEN_STEPS), "--snapshot-every", "1000000"]
    store = open_store(f"{tmp_path}/there")
    with watched(cluster) as machines:
        job = submitted(cluster, "jobs/distill.py", "scenes", *told, "--restarts", "0")
        machines.wait_for(lambda count: count == 2, 120)
        wait(lambda: any(claim.base == 0 for claim in Claims(store, "taken").all()), 60)
        time.sleep(5)
        going = next(machine for machine in machines.seen[-1] if trains(machine))
        words = ["drain-node", "--address", cluster["GCS"], "--node-id", going]
        words += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        words += ["--deadline-remaining-seconds", "30"]
        subprocess.run([str(BIN / "ray"), *words], env={**cluster}, check=True, capture_output=True)
        wait(lambda: bool(Snapshots(store, "taken").manifests()), 25)
        (kept,) = Snapshots(store, "taken").manifests()
        assert 0 < kept.step < TAKEN_STEPS
        raylet_of(going).kill()
        carried_out(job, 240)
        assert going not in machines.seen[-1] and machines.most == 2
        machines.wait_for(lambda count: count == 0, IDLE_S + 60)
    assert [claim.base for claim in Claims(store, "taken").all() if claim.base is not None] == [0, kept.step]
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/there/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    rows = [point.step for point in client.get_metric_history(found.info.run_id, "gradient_norm")]
    assert sorted(rows) == [*range(10, TAKEN_STEPS + 1, 10)]


def test_a_sweep_brings_as_many_as_its_trials_can_use(cluster: dict[str, str], tmp_path: Path) -> None:
    track(tmp_path)
    told = [*sweep_flags(tmp_path), "--device", "cpu", "--trials", "4", "--objectives", "segmentation/miou"]
    with watched(cluster) as machines:
        machines.wait_for(lambda count: count == 0, IDLE_S + 60)
        carried_out(submitted(cluster, "jobs/sweep.py", "weighting", *told))
        assert machines.most == 2
        machines.wait_for(lambda count: count == 0, IDLE_S + 60)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    (parent,) = [run for run in runs if run.info.run_name == "weighting"]
    trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in trials) == [f"weighting-{number:03d}" for number in range(4)]
