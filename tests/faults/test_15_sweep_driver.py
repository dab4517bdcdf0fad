"""Row 15: kill -9 of a sweep's driver. Started again, it counts every trial once and knows what it knew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from jointdistill.cores import cores
from jointdistill.engine.snapshot import Snapshots
from jointdistill.search.answers import Answers
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from tests.faults.sweeping import NAME, TRIALS
from tests.search.test_conduct import recorded

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]


def driver(folder: Path, steps: int = 40) -> subprocess.Popen[str]:
    """A sweep in a process group of its own."""
    paths = f"{ROOT / 'platform'}{os.pathsep}{ROOT}"
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.sweeping", str(folder), str(steps)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def trained(store: Store, number: int) -> bool:
    """Whether a trial of this number was ever begun."""
    return bool([*store.list(f"runs/{NAME}-{number:03d}/claims")])


def test_row_15_a_killed_sweep_counts_every_trial_once(tmp_path: Path, record_property) -> None:
    with driver(tmp_path) as hurt:
        assert hurt.stdout is not None
        told = next(line for line in hurt.stdout if line.startswith(f"{NAME}-003 after step 10"))
        os.kill(hurt.pid, signal.SIGKILL)
        hurt.stdout.read()
    assert told
    store = open_store(str(tmp_path / "storage"))
    answers = Answers(store, NAME)
    known = answers.begun()
    answered = {key.rsplit("/", 1)[-1] for key in store.list(f"runs/{NAME}/answers")}
    assert len(known) >= 4 and len(answered) >= 4
    under_way = {f"{NAME}-{number:03d}" for number in range(TRIALS) if trained(store, number)}
    assert len(under_way - {key.split("@")[0] for key in answered}) <= cores()

    with driver(tmp_path) as again:
        said = again.communicate()[0]
    assert again.returncode == 0, said
    trials = json.loads(said.splitlines()[-1])
    assert [point for _, point, _ in trials[: len(known)]] == known  # the searcher knows what it knew
    assert [name for name, _, _ in trials] == [f"{NAME}-{number:03d}" for number in range(TRIALS)]
    _, runs = recorded(tmp_path)
    names = Counter(run.info.run_name for run in runs)
    assert names == {NAME: 1, **{name: 1 for name, _, _ in trials}}
    for name, _, step in trials:
        steps = [manifest.step for manifest in Snapshots(store, name).manifests()]
        assert max(steps) == step
    record_property("lost", "nothing; every trial counted once, every answer kept")
    record_property("recomputed", "what the trials under way had done since their last snapshot")
