"""Row 2: kill -9 of a raylet. Row 3: a preemption is announced, and then happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jointdistill.engine.snapshot import Snapshots
from jointdistill.store.objects import open_store
from tests.faults.cluster import DEADLINE_S, STEPS
from tests.faults.oracle import End
from tests.faults.workers import ROOT, ended, launch, straight
from tests.jobs.head import alone

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machines")


@pytest.fixture(scope="module")
def expected() -> End:
    return straight(2, STEPS)


def on_a_cluster(how: str, folder: Path) -> dict[str, Any]:
    environment = alone() | {"PYTHONPATH": f"platform{os.pathsep}."}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.cluster", how, str(folder)],
        cwd=ROOT,
        env=environment,
        text=True,
        capture_output=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_row_2_a_killed_raylet_loses_nothing_and_leaves_no_orphan(
    folder: Path, expected: End, record_property
) -> None:
    told = on_a_cluster("kill", folder)
    assert any(note.startswith("Lost rank") for note in told["notes"])
    (base,) = told["resumed"]  # workers notice after some seconds that their raylet is gone
    assert base > 0
    assert base % 10 == 0
    assert told["left"] == 0
    assert expected.differences(ended(folder, launch(folder, "kill"), STEPS)) == []
    record_property("lost", "nothing; no placement group is left behind")
    record_property("recomputed", "at most 10 steps (interval 10)")


def test_row_3_a_snapshot_is_kept_before_a_preemption(folder: Path, expected: End, record_property) -> None:
    told = on_a_cluster("drain", folder)
    charged = [note for note in told["notes"] if note.startswith("Lost") and "after a preemption" not in note]
    assert not charged
    (warned,) = [note for note in told["notes"] if note.startswith("A machine will be taken away")]
    step = int(warned.split()[-1].rstrip("."))
    assert told["resumed"] == [step]
    manifests = Snapshots(open_store(launch(folder, "drain").storage), "drain").manifests()
    (kept,) = [manifest for manifest in manifests if manifest.step == step]
    place = folder / "storage" / "runs" / "drain" / "snapshots" / kept.name / "manifest.json"
    before_s = told["at"] + DEADLINE_S - place.stat().st_mtime
    assert before_s > 0
    assert expected.differences(ended(folder, launch(folder, "drain"), STEPS)) == []
    record_property("lost", f"nothing; the snapshot was durable {before_s:.0f} s before the deadline")
    record_property("recomputed", "the steps that were done after it, until the machine went")
