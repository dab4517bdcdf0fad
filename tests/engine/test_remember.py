"""A teacher's way is asked once: what lies on the store is read by any number of ranks, or asked anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from jointdistill.engine.ranks import Ranks
from jointdistill.engine.remember import Replay, remember
from jointdistill.engine.state import pack, unpack
from jointdistill.launch.work import Work
from jointdistill.launch.worker import put_together
from jointdistill.store.objects import open_store
from jointdistill.trajectory.index import index
from jointdistill.trajectory.record import Anchor
from jointdistill.trajectory.teacher_way import TeacherWay
from jointdistill.types import State
from tests.engine import small

ALONE = Ranks(torch.device("cpu"))
STEPS = (5, 10, 20)


def silent(message: object) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a depth teacher with a way of three random moments."""
    folder = tmp_path_factory.mktemp("remember")
    small.experiment(folder)
    small.give_way(folder, STEPS)
    return folder


@pytest.fixture
def work(folder: Path) -> Work:
    """A run that follows it, before anything was replayed."""
    work = small.work(folder, trajectory=(TeacherWay(grid=(8, 16), points=8),))
    shutil.rmtree(Path(work.storage, "trajectories"), ignore_errors=True)
    return work


def replayed(work: Work, ranks: Ranks, say: Callable[[str], None]) -> tuple[Anchor, ...]:
    examiner = put_together(work, ranks, silent).examiner
    teacher, tasks = examiner.parts.teachers["depth"], {"depth": work.tasks["depth"]}
    layout = work.experiment.trajectory[0].replayed(tasks)
    assert layout is not None
    return Replay(examiner, layout, say).of(teacher, tasks)


def plain(anchors: tuple[Anchor, ...], said: list[str]) -> State:
    """All that came of it, as a state."""
    tensors = {
        f"{anchor.step} {name}": values.nan_to_num(-1)
        for anchor in anchors
        for name, values in anchor.records.tensors.items()
    }
    return tensors, {"losses": [dict(anchor.loss) for anchor in anchors], "said": list(said)}


def alone(work: Work) -> State:
    said: list[str] = []
    return plain(replayed(work, ALONE, said.append), said)


def rank(rank: int, world: int, work: Work, port: int, out: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": "1"}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    try:
        said: list[str] = []
        anchors = replayed(work, Ranks.current(torch.device("cpu")), said.append)
        Path(out, str(rank)).write_bytes(pack(plain(anchors, said)))
    finally:
        dist.destroy_process_group()


def together(work: Work, world: int, out: Path) -> list[State]:
    work = replace(work, launch=replace(work.launch, workers=world))
    mp.spawn(rank, (world, work, 20000 + os.getpid() % 10000, out), nprocs=world)
    return [unpack(Path(out, str(one)).read_bytes()) for one in range(world)]


def same(left: State, right: State) -> bool:
    return left[1]["losses"] == right[1]["losses"] and all(
        torch.equal(values, right[0][name]) for name, values in left[0].items()
    )


def keys(work: Work) -> list[str]:
    """What lies of the teacher's way, below its question's folder."""
    return [key.split("/", 3)[3] for key in open_store(work.storage).list("trajectories")]


def damage(work: Work, pattern: str) -> None:
    (path,) = Path(work.storage, "trajectories").glob(f"*/*/{pattern}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def test_what_two_ranks_wrote_one_reads(work: Work, tmp_path: Path) -> None:
    """And where something is damaged, two ranks ask anew what one wrote, and nobody else does."""
    asked = alone(work)
    assert asked[1]["said"] == []
    assert [key.partition("/")[0] for key in keys(work)] == [
        "000000005", "000000005", "000000010", "000000010", "000000020", "000000020", "index.parquet",
    ]  # fmt: skip
    damage(work, "000000010/0-*.arrow")
    first, second = together(work, 2, tmp_path)
    assert same(first, second)
    (sentence,) = first[1]["said"]  # type: ignore[misc]
    assert "000000010: 0-" in str(sentence) and "digest differs" in str(sentence)
    assert second[1]["said"] == []  # the first rank speaks for all
    new = [key for key in keys(work) if key.startswith("000000010-2/")]
    assert len(new) == 3  # two parts and the manifest
    assert "index-2.parquet" in keys(work)

    before = keys(work)
    read = alone(work)
    assert same(read, first) and read[1]["said"] == []
    assert keys(work) == before  # nobody was asked again
    for name in (f"{step} {column}" for step in STEPS for column in ("known", "depth.loss")):
        torch.testing.assert_close(read[0][name].float(), asked[0][name].float(), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("pattern", ["000000020/0-*.arrow", "000000020/manifest.json"])
def test_damage_is_asked_anew_and_named(work: Work, pattern: str) -> None:
    asked = alone(work)
    damage(work, pattern)
    anew = alone(work)
    assert same(anew, asked)
    (sentence,) = anew[1]["said"]  # type: ignore[misc]
    assert "000000020: " in str(sentence)
    again = alone(work)
    assert same(again, asked) and again[1]["said"] == []


def test_the_run_is_told_and_the_index_lists_the_losses(work: Work) -> None:
    asked = alone(work)
    frame = index(open_store(work.storage))
    assert frame["step"].tolist() == list(STEPS)
    assert [{"depth": loss} for loss in frame["depth.loss"]] == asked[1]["losses"]
    damage(work, "000000005/0-*.arrow")
    examiner = put_together(work, ALONE, silent).examiner
    said: list[str] = []
    assert len(remember(examiner, said.append)) == 1
    assert len(said) == 1
    assert len(remember(examiner)) == 1


def test_records_of_other_labels_are_another_question(work: Work) -> None:
    alone(work)
    other = replace(work.experiment.sampling, labels={"depth": 0.6, "segmentation": 0.4})
    alone(replace(work, experiment=replace(work.experiment, sampling=other)))
    frame = index(open_store(work.storage))
    assert frame["question"].nunique() == 2 and frame["teacher"].nunique() == 1
    assert frame["step"].tolist() == [*STEPS, *STEPS]
