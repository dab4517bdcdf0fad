"""Row 10: the disk behind the storage is full for a while. Training goes on, old snapshots stay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jointdistill.engine.snapshot import Snapshots
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.faults import waiting
from tests.faults.oracle import EVERY, Attempts, die_at, end, straight, work


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    with waiting.for_snapshots():
        yield


class FullStore(Store):
    """Has no room for snapshots while `full`."""

    def __init__(self, inner: Store) -> None:
        self.inner, self.full = inner, False
        self.refused = 0

    def put(self, key: str, value: bytes) -> None:
        if self.full:
            self.refused += 1
            raise Refusal(f"{key} was not written (No space left on device): make room.")
        self.inner.put(key, value)

    def get(self, key: str) -> bytes:
        return self.inner.get(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self.inner.delete(key)


def test_row_10_a_full_disk_costs_snapshots_and_nothing_else(tmp_path: Path, record_property) -> None:
    mine = work(tmp_path)
    expected = straight(mine)
    attempts = Attempts(replace(mine, run="full"))
    store = FullStore(open_store(mine.storage))

    def fill(step: int) -> None:
        store.full = 4 <= step < 8

    assert attempts.go(fill, store)
    assert store.refused
    assert sum("A snapshot was not kept" in note and "No space left" in note for note in attempts.notes) == 1
    assert expected.differences(end(attempts.work)) == []
    record_property("lost", "the snapshots that found no room")
    record_property("recomputed", f"{attempts.recomputed} steps")


def test_row_10_killed_while_full_goes_on_from_the_snapshot_before(tmp_path: Path, record_property) -> None:
    mine = work(tmp_path)
    expected = straight(mine)
    attempts = Attempts(replace(mine, run="full"))
    store = FullStore(open_store(mine.storage))

    def fill(step: int) -> None:
        store.full = step >= 4
        die_at(8)(step)

    assert not attempts.go(fill, store)
    latest = Snapshots(open_store(mine.storage), "full").latest()
    assert latest is not None
    assert latest.step == EVERY
    assert attempts.go()
    assert expected.differences(end(attempts.work)) == []
    record_property("lost", "the snapshots that found no room")
    record_property("recomputed", f"{attempts.recomputed} steps, back to the last that found room")
