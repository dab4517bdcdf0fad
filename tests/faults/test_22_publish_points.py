"""Row 22: the process dies at a publish point. Whoever comes next finds the old or the new snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jointdistill.engine.snapshot import Snapshots
from jointdistill.store.objects import open_store
from tests.faults.dying import DyingStore
from tests.faults.oracle import EVERY, Attempts, End, end, straight, work


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("publish")


@pytest.fixture(scope="module")
def expected(folder: Path) -> End:
    return straight(work(folder))


def test_row_22_at_every_publish_point_old_or_new_never_neither(
    folder: Path, expected: End, record_property
) -> None:
    mine = work(folder)
    counting = DyingStore(open_store(mine.storage), fatal=-1, after=False)
    assert Attempts(replace(mine, run="counted")).go(store=counting)
    points = counting.done
    assert {"manifest.json", "result.json"} <= {key.rsplit("/", 1)[-1] for key in counting.keys}
    lost = recomputed = 0
    for point in range(points):
        for after in (False, True):
            attempts = Attempts(replace(mine, run=f"point-{point}-{after}"))
            store = DyingStore(open_store(mine.storage), point, after)
            assert not attempts.go(store=store)
            durable = [key for key in store.keys[: point + after] if key.endswith("manifest.json")]
            snapshots = Snapshots(open_store(mine.storage), attempts.work.run)
            latest = snapshots.latest()
            newest = int(durable[-1].split("/")[-2].split("-")[0]) if durable else 0
            lost += newest - (latest.step if latest else 0)
            assert (latest.step if latest else 0) == newest, counting.keys[point]
            assert snapshots.skipped == []
            assert attempts.go()
            assert expected.differences(end(attempts.work)) == [], counting.keys[point]
            recomputed = max(recomputed, attempts.recomputed)
    # Written in the background: the step after a snapshot may be done before it is durable.
    assert recomputed <= 2 * EVERY
    record_property("lost", f"{points} points, before and after each: {lost} committed steps")
    record_property("recomputed", f"at most {recomputed} steps (interval {EVERY})")
