import pytest
import torch

from jointdistill.engine.snapshot import Snapshot, Snapshots
from jointdistill.engine.state import pack, unpack
from jointdistill.store.objects import open_store


def snapshot(step: int) -> Snapshot:
    tensors = {"weight": torch.arange(6.0).view(2, 3) + step, "count": torch.tensor(step)}
    return Snapshot(step, {"trained": (tensors, {}), "weighting": ({}, {"step": step, "names": ["a", "b"]})})


@pytest.fixture
def snapshots(tmp_path) -> Snapshots:
    return Snapshots(open_store(str(tmp_path)), "mine")


def same(left: Snapshot, right: Snapshot) -> bool:
    return left.step == right.step and {k: pack(v) for k, v in left.parts.items()} == {
        k: pack(v) for k, v in right.parts.items()
    }


def test_a_state_comes_back_as_it_was_and_is_no_pickle():
    state = (
        {"a": torch.tensor([1.5, torch.nan]), "b": torch.empty(0, 3)},
        {"deep": {"list": [1, None, "x"]}},
    )
    content = pack(state)
    tensors, plain = unpack(content)
    torch.testing.assert_close(tensors, state[0], equal_nan=True)
    assert plain == state[1]
    assert not content.startswith((b"\x80", b"PK"))


def test_the_newest_snapshot_is_taken(snapshots):
    assert snapshots.latest() is None
    for step in (10, 9, 100):
        snapshots.write(snapshot(step))
    latest = snapshots.latest()
    assert latest is not None and same(latest, snapshot(100))


def test_a_damaged_snapshot_is_passed_over_and_named(tmp_path, snapshots):
    for step in (10, 20):
        snapshots.write(snapshot(step))
    (part,) = tmp_path.glob("runs/mine/snapshots/*20/trained-*.safetensors")
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(bytes(content))
    latest = snapshots.latest()
    assert latest is not None and latest.step == 10
    assert "000000020" in snapshots.skipped[0] and "digest" in snapshots.skipped[0]


def test_a_snapshot_without_its_manifest_or_a_part_does_not_exist(tmp_path, snapshots):
    for step in (10, 20, 30):
        snapshots.write(snapshot(step))
    next(tmp_path.glob("runs/mine/snapshots/*30/manifest.json")).unlink()
    next(tmp_path.glob("runs/mine/snapshots/*20/weighting-*.safetensors")).unlink()
    latest = snapshots.latest()
    assert latest is not None and latest.step == 10


def test_the_same_step_twice_is_one_snapshot(snapshots):
    snapshots.write(snapshot(10))
    snapshots.write(snapshot(10))
    latest = snapshots.latest()
    assert latest is not None and same(latest, snapshot(10))
