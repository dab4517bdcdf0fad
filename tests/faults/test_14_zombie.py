"""Row 14: a writer that was thought dead wakes up after it was replaced. It publishes nothing."""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path

import pytest

from jointdistill.engine.claims import Claims, Hold
from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch import run as running
from jointdistill.store.objects import open_store
from tests.faults.workers import EVERY, Watcher, driver, ended, launch, straight, train


@pytest.mark.timeout(200)
def test_row_14_a_zombie_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property
) -> None:
    monkeypatch.setattr(running, "Hold", partial(Hold, silence_s=3))
    told = launch(tmp_path, "mine", workers=0)
    watcher = Watcher()
    with driver(tmp_path, 0, "mine", "--elsewhere") as zombie:
        zombie.send_signal(signal.SIGSTOP)
        watcher.at[30] = partial(zombie.send_signal, signal.SIGCONT)
        train(tmp_path, told, watcher)
        _, complaints = zombie.communicate(timeout=60)
    assert zombie.returncode == 2
    assert "The run 'mine' was taken over by process" in complaints
    assert any("waiting up to 3 s for a sign of life" in note for note in watcher.notes)
    store = open_store(told.storage)
    taken = {claim.number: claim for claim in Claims(store, "mine").all()}
    owner = taken[max(taken)].owner
    late = [one for one in Snapshots(store, "mine").manifests() if one.step > watcher.resumed[0]]
    assert late
    assert all(taken[one.claim].owner == owner for one in late)
    assert straight(workers=0).differences(ended(tmp_path, told)) == []
    record_property("lost", "nothing; the zombie ends with the new owner's name")
    record_property("recomputed", f"at most {EVERY} steps")
