"""Row 18: 2 → 1 → 2 workers. The same images in the same order; to the bit where the world stays."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from jointdistill.engine.keeper import Ears
from jointdistill.engine.ranks import Ranks
from jointdistill.launch.work import Work
from jointdistill.launch.worker import live
from tests.engine.server import free_port
from tests.faults.oracle import Killed, die_at, end, straight, watching, work

DEATHS = {"a": 4, "b": 8, "c": 0}


def rank(rank: int, world: int, work: Work, out: Path, death: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "1"}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        attempt(work, out, death)
    finally:
        dist.destroy_process_group()


def attempt(work: Work, out: Path, death: int) -> None:
    """One attempt of one rank, which dies after a step; what it saw is written down."""

    def alive(step: int) -> None:
        if step == death:
            # All ranks die together, and what was handed over has arrived: the order of deaths is row 1's.
            if dist.is_initialized():
                dist.barrier()
            die_at(death)(step)

    with watching() as seen, suppress(Killed):
        live(work, lambda message: None, Ears(alive=alive))
    mine = Ranks.current(torch.device("cpu")).rank
    out.with_name(f"{out.name}-{mine}.json").write_text(json.dumps(seen))


def run(work: Work, world: int, out: Path, death: int) -> dict[int, set[str]]:
    """An attempt with so many workers: step → images of the global batch."""
    if world == 1:
        attempt(work, out, death)
    else:
        mp.spawn(rank, (world, work, out, death, free_port()), nprocs=world)
    seen: dict[int, set[str]] = {}
    for number in range(world):
        for step, keys in json.loads(out.with_name(f"{out.name}-{number}.json").read_text()).items():
            seen.setdefault(int(step), set()).update(keys)
    return seen


def launched(work: Work, name: str, world: int, sharding: str) -> Work:
    how = sharding if world > 1 else "replicate"
    return replace(work, run=name, launch=replace(work.launch, workers=world, sharding=how))


@pytest.mark.parametrize("sharding", [pytest.param("replicate", marks=pytest.mark.slow), "shard"])
def test_row_18_two_one_two_workers_see_the_same_batches(
    tmp_path: Path, sharding: str, record_property
) -> None:
    mine = work(tmp_path)
    expected = straight(mine)
    seen: dict[int, set[str]] = {}
    for (stage, death), world in zip(DEATHS.items(), (2, 1, 2), strict=True):
        seen |= run(launched(mine, "resized", world, sharding), world, tmp_path / stage, death)
    assert {step: set(keys) for step, keys in expected.seen.items()} == seen
    found = end(launched(mine, "resized", 1, sharding))
    assert found.positions.keys() & expected.positions.keys()
    for step in found.positions.keys() & expected.positions.keys():
        assert found.positions[step] == expected.positions[step]
    assert found.series.keys() == expected.series.keys()
    assert len(found.rows) == len(set(found.rows))
    own = ("trajectory/gate_open",)  # the first rank's own share
    for point, value in expected.series.items():
        if point[1] not in own:
            assert found.series[point] == pytest.approx(value, rel=1e-3, abs=1e-5), point
    record_property("lost", "nothing; metrics agree to 1e-3")
    record_property("recomputed", "steps since the last snapshot")


@pytest.mark.parametrize("sharding", ["replicate", pytest.param("shard", marks=pytest.mark.slow)])
def test_row_18_an_equal_world_is_equal_to_the_bit(tmp_path: Path, sharding: str, record_property) -> None:
    mine = work(tmp_path)
    run(launched(mine, "straight", 2, sharding), 2, tmp_path / "straight-2", 0)
    for stage, death in DEATHS.items():
        run(launched(mine, "stopped", 2, sharding), 2, tmp_path / stage, death)
    assert (
        end(launched(mine, "straight", 2, sharding)).differences(end(launched(mine, "stopped", 2, sharding)))
        == []
    )
    record_property("lost", "nothing, to the bit")
    record_property("recomputed", "steps since the last snapshot")
