"""SIGTERM to a sweep, which is what `ray job stop` sends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from jointdistill.engine.claims import Claims
from jointdistill.engine.snapshot import Snapshots
from jointdistill.store.objects import open_store
from tests.faults.sweeping import NAME, TRIALS
from tests.faults.test_15_sweep_driver import driver
from tests.search.test_conduct import recorded

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

STEPS = 240


def test_a_sweep_that_is_stopped_keeps_what_its_trials_did_and_goes_on(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "storage"))
    with driver(tmp_path, STEPS) as stopped:
        assert stopped.stdout is not None
        assert any(line.startswith(f"{NAME}-000 after step 60") for line in stopped.stdout)
        # The first two wait at their rung now, and the next two begin.
        while not Claims(store, f"{NAME}-002").all():
            time.sleep(0.05)
        stopped.send_signal(signal.SIGTERM)
        said = stopped.stdout.read()
    assert stopped.returncode == 143, said
    assert "Stopped with a snapshot of every trial that was under way" in said
    assert "Traceback" not in said
    kept = {
        run: max((manifest.step for manifest in Snapshots(store, run).manifests()), default=0)
        for run in (f"{NAME}-{number:03d}" for number in range(TRIALS))
    }
    between = {run: step for run, step in kept.items() if step % (STEPS // 4)}
    assert between, kept  # of trials that were between two rungs, where nobody else keeps a snapshot
    _, runs = recorded(tmp_path)
    ended = {run.info.run_name: run.info.status for run in runs}
    assert ended[NAME] == "KILLED" and {ended[run] for run in between} == {"KILLED"}, ended

    with driver(tmp_path, STEPS) as again:
        said = again.communicate()[0]
    assert again.returncode == 0, said
    trials = json.loads(said.splitlines()[-1])
    assert [name for name, _, _ in trials] == [f"{NAME}-{number:03d}" for number in range(TRIALS)]
    for run, step in between.items():
        assert step in {claim.base for claim in Claims(store, run).all()}
