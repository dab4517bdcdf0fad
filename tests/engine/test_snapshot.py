"""A snapshot is whole or it does not exist; what is damaged is passed over, and named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from jointdistill.engine.claims import Claims, Owner
from jointdistill.engine.retention import kept, tidy
from jointdistill.engine.shard import FILE_BYTES, Chunk, Shard, laid_as, together
from jointdistill.engine.snapshot import MANIFEST, Manifest, Snapshot, Snapshots
from jointdistill.engine.state import pack, unpack
from jointdistill.store.objects import open_store
from jointdistill.store.sealed import seal, unseal
from jointdistill.types import StepReport

ABOUT = {"identity": "mine", "package": "p"}


def shard(step: int) -> Shard:
    found = Shard()
    found.add(
        "trained", ({"weight": torch.arange(6.0).view(2, 3) + step, "count": torch.tensor(step)}, {}), True
    )
    found.add("weighting", ({}, {"step": step, "names": ["a", "b"]}), True)
    return found


def write(snapshots: Snapshots, step: int, claim: int = 1, **losses: float) -> Manifest:
    manifest = Manifest(step, claim, ABOUT, losses)
    parts = tuple(snapshots.put_shard(manifest.name, 0, shard(step)))
    manifest = Manifest(step, claim, ABOUT, losses, parts)
    snapshots.put_manifest(manifest)
    return manifest


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return again(tmp_path)


def again(folder: Path) -> Snapshots:
    """As another process finds them."""
    return Snapshots(open_store(str(folder)), "mine", "mine")


def part_of(folder: Path, step: int) -> Path:
    (part,) = folder.glob(f"runs/mine/snapshots/{step:09d}-*/00000-000-*.safetensors")
    return part


def test_a_state_comes_back_as_it_was_and_is_no_pickle() -> None:
    state = (
        {"a": torch.tensor([1.5, torch.nan]), "b": torch.empty(0, 3)},
        {"deep": {"list": [1, None, "x"]}},
    )
    content = pack(state)
    tensors, plain = unpack(content)
    torch.testing.assert_close(tensors, state[0], equal_nan=True)
    assert plain == state[1]
    assert not content.startswith((b"\x80", b"PK"))


@pytest.mark.parametrize("spoil", [lambda c: c[:-3], lambda c: c.replace(b"17", b"18"), lambda c: b"{}"])
def test_a_sealed_object_says_when_it_was_changed(spoil) -> None:
    sealed = seal({"step": 17})
    assert unseal(sealed) == {"step": 17}
    with pytest.raises(ValueError, match="it is"):
        unseal(spoil(sealed))


def test_the_newest_snapshot_is_taken(snapshots: Snapshots) -> None:
    assert snapshots.latest() is None
    for step in (10, 9, 100):
        write(snapshots, step)
    latest = snapshots.latest()
    assert latest is not None
    assert latest.step == 100
    tensors, _ = latest.parts["trained"]
    assert torch.equal(tensors["weight"], torch.arange(6.0).view(2, 3) + 100)
    assert latest.parts["weighting"] == ({}, {"step": 100, "names": ["a", "b"]})


def flip(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (flip, "its digest differs"),
        (lambda part: part.write_bytes(part.read_bytes()[:-5]), "bytes and should have"),
        (lambda part: part.unlink(), "is missing"),
        (lambda part: (part.parent / MANIFEST).write_text('{"step": 2'), "cut off or damaged"),
        (
            lambda part: (part.parent / MANIFEST).write_bytes(
                (part.parent / MANIFEST).read_bytes().replace(b'"step": 20', b'"step": 21')
            ),
            "its digest differs",
        ),
    ],
    ids=["flipped bit", "truncated shard", "missing shard", "truncated manifest", "flipped manifest"],
)
def test_a_damaged_snapshot_is_passed_over_and_named(
    tmp_path: Path, snapshots: Snapshots, harm, reason
) -> None:
    for step in (10, 20):
        write(snapshots, step)
    harm(part_of(tmp_path, 20))
    fresh = again(tmp_path)
    latest = fresh.latest()
    assert latest is not None
    assert latest.step == 10
    (said,) = fresh.skipped
    assert "000000020-000001" in said
    assert reason in said


def test_files_without_a_manifest_are_no_snapshot(tmp_path: Path, snapshots: Snapshots) -> None:
    write(snapshots, 10)
    write(snapshots, 20)
    (part_of(tmp_path, 20).parent / MANIFEST).unlink()
    fresh = again(tmp_path)
    latest = fresh.latest()
    assert latest is not None
    assert latest.step == 10
    assert fresh.skipped == []


def test_a_manifest_without_shards_is_passed_over(tmp_path: Path, snapshots: Snapshots) -> None:
    write(snapshots, 10)
    write(snapshots, 20)
    part_of(tmp_path, 20).unlink()
    latest = again(tmp_path).latest()
    assert latest is not None
    assert latest.step == 10


def test_a_snapshot_of_another_run_or_version_is_passed_over_with_the_reason(
    tmp_path: Path, snapshots: Snapshots
) -> None:
    write(snapshots, 10)
    for step, change in ((20, {"format": 9}), (30, {"about": {"identity": "another"}})):
        name = write(snapshots, step).name
        file = tmp_path / "runs/mine/snapshots" / name / MANIFEST
        file.write_bytes(seal({**unseal(file.read_bytes()), **change}))
    fresh = again(tmp_path)
    latest = fresh.latest()
    assert latest is not None
    assert latest.step == 10
    assert any("its format is 9" in said for said in fresh.skipped)
    assert any("of another experiment" in said for said in fresh.skipped)


def test_what_a_superseded_writer_publishes_does_not_count(tmp_path: Path, snapshots: Snapshots) -> None:
    claims, owner = Claims(snapshots.store, "mine"), Owner.here()
    first = claims.make(owner, None, 0)
    write(snapshots, 10, first.number)
    second = claims.make(owner, first, 10)
    write(snapshots, 20, first.number)  # in the very moment
    latest = again(tmp_path).latest()
    assert latest is not None
    assert latest.step == 10
    write(snapshots, 20, second.number)
    latest = again(tmp_path).latest()
    assert latest is not None
    assert latest.manifest.claim == second.number


def test_pieces_of_two_ranks_make_a_whole() -> None:
    whole = torch.arange(20.0).view(5, 4)
    shards = []
    for rank, rows in enumerate((slice(0, 3), slice(3, 5))):
        mine = Shard({"trained:weight": whole[rows]}, {"trained:weight": Chunk((rows.start, 0), (5, 4))})
        if rank == 0:
            mine.plain["trained"] = {"of": "both"}
        shards.append([*mine.files()])
    parts = together([*shards[0], *shards[1]])
    assert torch.equal(parts["trained"][0]["weight"], whole)
    assert parts["trained"][1] == {"of": "both"}
    with pytest.raises(ValueError, match=r"piece of 'trained:weight' is missing"):
        together(shards[0])


def test_a_moment_lies_in_memory_as_its_parameter_does() -> None:
    """A snapshot has its values row by row; on CUDA a parameter has its channels last."""
    like = torch.zeros(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    whole = torch.arange(48.0).view(4, 3, 2, 2)
    found = laid_as(whole, like)
    assert torch.equal(found, whole) and found.stride() == like.stride()


def test_a_large_state_is_cut_into_files_of_bearable_size() -> None:
    large = Shard()
    rows = FILE_BYTES // 4 // 2
    large.add("trained", ({name: torch.zeros(rows) for name in "abcde"}, {}), True)
    files = [*large.files()]
    assert len(files) == 3
    assert max(map(len, files)) < FILE_BYTES + 4096
    assert together(files)["trained"][0].keys() == set("abcde")


def test_reports_are_told_again_as_they_first_were(snapshots: Snapshots) -> None:
    reports = [StepReport(step, 0, {"loss": 1 / step}) for step in (5, 10, 15, 20)]
    snapshots.put_reports("000000010-000001", reports[:2])
    snapshots.put_reports("000000020-000001", reports[2:])
    assert snapshots.reports(until=20) == reports
    assert snapshots.reports(until=10) == reports[:2]


def manifests(*steps: int, **losses: dict[int, float]) -> list[Manifest]:
    said = {step: {task: of[step] for task, of in losses.items() if step in of} for step in steps}
    return [Manifest(step, 1, ABOUT, said[step]) for step in steps]


def steps(names: set[str]) -> list[int]:
    return sorted(int(name.split("-")[0]) for name in names)


def test_the_newest_the_best_and_a_thinning_history_are_kept() -> None:
    listed = manifests(*range(100, 1700, 100), depth={300: 0.1, 800: 0.3}, segmentation={1100: 0.2})
    found = steps(kept(listed, {"000000700-000001"}))
    assert found == [100, 200, 300, 600, 700, 1100, 1500, 1600]
    # 100, 200, 300, 600, 1100: the first of each doubling; 300 and 1100 the best; 700 is pinned


def test_tidying_deletes_what_nobody_needs_and_what_the_dead_left(
    tmp_path: Path, snapshots: Snapshots
) -> None:
    for step in range(10, 90, 10):
        write(snapshots, step, claim=2, depth=1 / step)
    snapshots.put_shard("000000045-000001", 0, shard(45))  # its writer died before the manifest
    snapshots.put_shard("000000090-000002", 0, shard(90))  # is being written
    snapshots.pin(snapshots.manifest("000000050-000002"), "somebody")
    tidy(snapshots, claim=2)
    names = again(tmp_path).names()
    assert steps(set(names)) == [10, 20, 40, 50, 70, 80, 90]
    assert [*names.values()].count(False) == 1


def test_a_snapshot_that_is_half_deleted_is_none(tmp_path: Path, snapshots: Snapshots) -> None:
    write(snapshots, 10)
    name = write(snapshots, 20).name
    deleted: list[str] = []

    class Dying:
        def __getattr__(self, verb: str):
            return getattr(snapshots.store, verb)

        def delete(self, key: str) -> None:
            if deleted:
                raise KeyboardInterrupt
            deleted.append(key)
            snapshots.store.delete(key)

    with pytest.raises(KeyboardInterrupt):
        Snapshots(Dying(), "mine").delete(name)  # type: ignore[arg-type]
    fresh = again(tmp_path)
    latest: Snapshot | None = fresh.latest()
    assert latest is not None
    assert latest.step == 10
    assert fresh.skipped == []


def test_a_manifest_can_be_read_by_anybody(tmp_path: Path, snapshots: Snapshots) -> None:
    name = write(snapshots, 10, depth=0.5).name
    said = json.loads((tmp_path / "runs/mine/snapshots" / name / MANIFEST).read_text())
    assert {"step", "claim", "about", "losses", "parts", "sha256"} <= said.keys()
