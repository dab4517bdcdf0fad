"""Row 16: a member of a population is cloned while the donor goes on and deletes its old snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jointdistill.engine.branch import find
from jointdistill.engine.retention import kept, tidy
from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch.stop import StopSign
from jointdistill.search.answers import Answers
from jointdistill.search.conduct import prepare
from jointdistill.search.plan import Plan, Standing
from jointdistill.search.postbox import Post
from jointdistill.search.posts import Posted
from jointdistill.search.schedulers.pbt import Pbt
from jointdistill.search.trial import Trial
from jointdistill.search.tuning import Share
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.engine import small
from tests.search import stub


class Told(Post):
    """Keeps what a trial posts."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []

    def __call__(self, posted: Posted) -> None:
        self.posted.append(posted)

    @contextmanager
    def listening(self) -> Iterator[StopSign]:
        yield StopSign()


def stand(plan: Plan, name: str, gain: float, post: Post) -> Trial:
    trial = Trial(plan, post)
    trial.become(name, {"weighting.gain": gain, "weighting.temperature": 1.0})
    return trial


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    sweep = stub.sweep(tmp_path, "cloned", trials=2, scheduler=Pbt(every=4))
    return prepare(sweep, small.launch(tmp_path), Share())[1]


def test_row_16_a_clone_reads_a_pinned_snapshot(tmp_path: Path, plan: Plan, record_property) -> None:
    donor = stand(plan, "cloned-000", gain=1.0, post=Told())
    for _ in range(3):
        donor.step()
    handed = donor.keep()
    assert handed == Standing("cloned-000", 12)
    store = open_store(str(tmp_path / "storage"))
    snapshots = Snapshots(store, "cloned-000")
    for _ in range(4):
        donor.step()
    tidy(snapshots, claim=99)
    steps = {manifest.name: manifest.step for manifest in snapshots.manifests()}
    alone = {steps[name] for name in kept(snapshots.manifests(), pinned=())}
    assert 12 in steps.values() and 12 not in alone  # there for its pin, and for nothing else
    told = Told()
    clone = stand(plan, "cloned-001", gain=2.0, post=told)
    clone.go_on(handed)
    assert clone.step()["step"] == 16
    assert Answers(store, "cloned").point("cloned-001.at-12")[0]["weighting.gain"] == 2.0
    notes = [str(posted) for posted in told.posted]
    assert any("with its student, optimiser, weighting" in note for note in notes)
    record_property("lost", "nothing")
    record_property("recomputed", "nothing")


def test_row_16_pins_follow_their_trial(tmp_path: Path, plan: Plan) -> None:
    """From process to process, and from its run to the one that it begins as a clone."""
    store = open_store(str(tmp_path / "storage"))

    def pinned(run: str) -> list[int]:
        return sorted(int(name.split("-")[0]) for name in Snapshots(store, run).pinned())

    held, place = [], Standing("cloned-000")
    for _ in range(3):
        donor = stand(plan, "cloned-000", gain=1.0, post=Told())
        donor.go_on(place)
        donor.step()
        place = donor.keep()
        held.append(pinned("cloned-000"))
    assert held == [[4], [4, 8], [8, 12]]

    place = replace(place, run="cloned-001")
    other = stand(plan, "cloned-001", gain=1.0, post=Told())
    for _ in range(3):
        other.step()
        other.keep()
    held = []
    for _ in range(2):
        donor = stand(plan, "cloned-000", gain=1.2, post=Told())
        donor.go_on(place)
        donor.step()
        place = donor.keep()
        held.append((pinned("cloned-000"), pinned("cloned-000.at-12")))
    assert held == [([12], [16]), ([], [16, 20])]


def test_row_16_a_clone_of_what_is_gone_says_so(tmp_path: Path, plan: Plan) -> None:
    donor = stand(plan, "cloned-000", gain=1.0, post=Told())
    donor.step()
    handed = donor.keep()
    snapshots, manifest = find(plan.store, "cloned-000@4")
    snapshots.delete(manifest.name)
    with pytest.raises(Refusal, match=r"the run 'cloned-000' has no snapshot of that step"):
        stand(plan, "cloned-001", gain=2.0, post=Told()).go_on(handed)
