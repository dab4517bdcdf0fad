"""Row 17: a rank hangs. It is named with its stack within the time-out, and the workers start again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from jointdistill.launch import train as launching
from jointdistill.launch.run import run
from tests.faults.workers import EVERY, Watcher, ended, experiment, launch, straight, worker

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

HUNG_S = 12.0


def hanging_worker(config: dict[str, Any]) -> object:
    """A worker whose second rank falls asleep at step 13, once."""
    from jointdistill.engine import loop

    step = loop.train_step
    mark = Path(config["work"].storage) / "slept"

    def sleepy(batch: Any, parts: Any) -> Any:
        if parts.step == 13 and parts.ranks.rank == 1 and not mark.exists():
            mark.touch()
            fall_asleep()
        return step(batch, parts)

    loop.train_step = sleepy
    return worker(config)


def fall_asleep() -> None:
    time.sleep(300)


def test_row_17_the_rank_that_hangs_is_named_with_its_stack_and_the_run_goes_on(
    tmp_path: Path, record_property
) -> None:
    told = launch(tmp_path, "hung", hang_s=HUNG_S)
    watcher = Watcher()
    began = time.monotonic()
    with patch.object(launching, "_worker", hanging_worker):
        run(experiment(tmp_path), told, watcher)
    (named,) = [note for note in watcher.notes if "no step since step" in note]
    assert named.startswith("Rank 1 hangs: no step since step 13, ")
    assert "in fall_asleep" in named
    assert "test_17_hang.py" in named
    assert watcher.resumed == [10]
    took = time.monotonic() - began
    assert straight(workers=2).differences(ended(tmp_path, told)) == []
    record_property("lost", f"nothing; named after {HUNG_S:.0f} s, the whole run took {took:.0f} s")
    record_property("recomputed", f"3 steps (interval {EVERY})")
