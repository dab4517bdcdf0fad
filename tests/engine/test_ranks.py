"""Two, three and four processes over gloo compute what one does: the same batches, losses and student."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from jointdistill.distill.channel_wise import ChannelWise
from jointdistill.distill.log_depth_l1 import LogDepthL1
from jointdistill.engine.ranks import Ranks
from jointdistill.experiment import Optimise
from jointdistill.launch.work import Work
from jointdistill.launch.worker import live
from jointdistill.store.objects import open_store
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import StepReport
from tests.engine import small

OWN = {"images_per_s", "teacher_s", "trajectory/gate_open"}


def train(work: Work, out: Path) -> None:
    """Run on this rank and write what the first rank reports."""
    series: dict[str, float] = {}

    def note(message: object) -> None:
        if isinstance(message, StepReport):
            series.update({f"{message.step} {name}": value for name, value in message.metrics.items()})

    live(work, note)
    if Ranks.current(torch.device("cpu")).first:
        out.write_text(json.dumps(series))


def rank(rank: int, world: int, work: Work, out: Path, port: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "1"}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        train(work, out)
    finally:
        dist.destroy_process_group()


def series(work: Work, world: int, tmp_path: Path) -> dict[str, float]:
    """What is reported, but for the clock's numbers and for those that a rank reports of its own share."""
    out = tmp_path / f"{work.run}.json"
    if world == 1:
        train(work, out)
    else:
        port = 20000 + os.getpid() % 10000
        mp.spawn(rank, (world, work, out, port), nprocs=world)
    said = json.loads(out.read_text())
    return {point: value for point, value in said.items() if point.split()[1] not in OWN}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def work(folder: Path) -> Work:
    """20 steps with few labels, augmentation, two teachers, the controller and a trajectory."""
    work = small.work(folder, trajectory=(OwnPast(),))
    return replace(work, launch=replace(work.launch, report_every=10))


@pytest.fixture(scope="module")
def alone(work: Work, folder: Path) -> dict[str, float]:
    return series(replace(work, run="alone"), 1, folder)


@pytest.mark.parametrize(
    ("world", "sharding"), [(2, "replicate"), (2, "shard"), (2, "hybrid"), (3, "replicate"), (4, "replicate")]
)
def test_workers_report_the_losses_of_one(work, alone, folder, world, sharding):
    launch = replace(work.launch, sharding=sharding, workers=world)
    together = series(replace(work, run=f"{sharding}-{world}", launch=launch), world, folder)
    assert together.keys() == alone.keys()
    for point, value in alone.items():
        assert together[point] == pytest.approx(value, rel=1e-4, abs=1e-6), point


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_an_average_and_a_connector_are_the_same_on_two_workers(folder, sharding):
    """The average is put in the student's place for each evaluation, and a connector is never sharded."""
    work = small.work(
        folder,
        distil=(LogDepthL1(), ChannelWise(layer="encoder")),
        optimise=Optimise(steps=20, learning_rate=5e-3, ema=0.9),
    )
    launch = replace(work.launch, report_every=10, evaluate_every=5, snapshot_every=100)
    work = replace(work, launch=launch)
    alone = series(replace(work, run=f"average-beside-{sharding}"), 1, folder)
    launch = replace(launch, sharding=sharding, workers=2)
    together = series(replace(work, run=f"average-{sharding}", launch=launch), 2, folder)
    assert together.keys() == alone.keys()
    for point, value in alone.items():
        assert together[point] == pytest.approx(value, rel=1e-4, abs=1e-6), point


@pytest.mark.parametrize("sharding", ["replicate", "shard"])
def test_a_run_goes_on_with_another_number_of_workers(work, alone, folder, sharding):
    """Two workers for the first half, one for the second."""
    store = open_store(work.storage)
    launch = replace(work.launch, sharding=sharding, workers=2)
    first = replace(work, run=f"half-{sharding}", launch=launch)
    series(first, 2, folder)
    for key in list(store.list(f"runs/{first.run}/snapshots")):
        if "/000000010-" in key:
            store.put(key.replace(first.run, f"rest-{sharding}"), store.get(key))
    rest = series(replace(work, run=f"rest-{sharding}"), 1, folder)
    assert {point.split()[0] for point in rest} >= {"20"}
    for point, value in rest.items():
        assert value == pytest.approx(alone[point], rel=1e-4, abs=1e-6), point
