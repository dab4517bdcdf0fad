"""Bad input ends a job before it trains: exit code 2, one plain sentence, nothing half-written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs import distill, prepare, teach
from jointdistill.data.cache import open_cache
from jointdistill.data.cells import encode_npy, encode_png
from jointdistill.data.sampling import Sampling
from jointdistill.data.shards import Row, encode_shard
from jointdistill.distill.tempered_kl import TemperedKL
from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import Model, save
from jointdistill.tasks.base import Task
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.teachers.registered import Registered
from jointdistill.types import Refusal
from tests.engine import small
from tests.engine.tracked import track, write
from tests.jobs.order import Job, Refused, small_flags

HEIGHT, WIDTH = small.SIZE
DEPTH = np.full(small.SIZE, 3, np.float32)
LABELS = np.zeros(small.SIZE, np.uint8)
IMAGE = encode_png(np.zeros((*small.SIZE, 3), np.uint8))


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("small")
    track(folder)  # makes mlflow.db, once for all tests
    return [*small_flags(folder), "--workers", "0", "--tracking", f"sqlite:///{folder}/mlflow.db"]


@pytest.fixture
def order(flags: list[str], tmp_path: Path) -> Iterator[list[str]]:
    """A whole order that would run; a test spoils it by one more flag, since the last of two holds."""
    yield ["scenes", *flags, "--storage", f"{tmp_path}/storage", "--cache", f"{tmp_path}/cache"]
    assert not (tmp_path / "storage" / "runs").exists()
    for file in (tmp_path / "cache").glob("*"):  # a split that was good stays decoded
        assert file.suffix == ".lock" or open_cache(file)


def frames(folder: Path, splits: tuple[str, ...] = ("train", "val"), **cells: bytes) -> Path:
    """A data set as another program writes it, without digests, whose first frame has these cells."""
    good = {"image": IMAGE, "depth": encode_npy(DEPTH), "labels": encode_png(LABELS)}
    folder.mkdir()
    for split in splits:
        rows = [
            _row(f"{split}/0", good | cells),
            *(_row(f"{split}/{number}", good) for number in range(1, 9)),
        ]
        (folder / f"{split}-00000.parquet").write_bytes(encode_shard(rows, ["depth", "labels"]))
    card = {"format": 1, "name": "mine", "height": HEIGHT, "width": WIDTH, "classes": list(small.CLASSES)}
    (folder / "card.json").write_text(json.dumps(card))
    return folder


def _row(key: str, cells: dict[str, bytes]) -> Row:
    return Row(key, cells["image"], {"depth": cells["depth"], "labels": cells["labels"]})


def spoilt(values: np.ndarray, value: float) -> np.ndarray:
    values = values.copy()
    values[3, 4] = value
    return values


@pytest.mark.parametrize(
    ("job", "kind"), [(distill.main, "experiment"), (teach.main, "experiment"), (prepare.main, "data set")]
)
def test_an_unknown_name(refused: Refused, job: Job, kind: str) -> None:
    assert refused(job, "nope").startswith(f"There is no {kind} 'nope': choose ")


def test_no_name_shows_what_there_is(refused: Refused) -> None:
    said = refused.ended(distill.main, "--workers", "2")
    assert "usage: python jobs/job.py EXPERIMENT" in said
    assert "scenes-equal" in said


def test_no_data_set(refused: Refused, tmp_path: Path) -> None:
    said = refused(distill.main, "scenes", "--storage", f"{tmp_path}/storage")
    assert "python jobs/prepare.py scenes" in said
    assert f"{tmp_path}/storage/data/scenes" in said
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_card(refused: Refused, order: list[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "There is no card.json" in refused(distill.main, *order, "--data", f"{tmp_path}/empty")


def test_a_teacher_that_was_never_trained(refused: Refused, order: list[str]) -> None:
    said = refused(distill.main, *order, "--teachers.depth.model", "models:/scenes-depth@champion")
    assert "There is no model 'models:/scenes-depth@champion'" in said
    assert "python jobs/teach.py" in said


def test_a_teacher_of_other_classes(refused: Refused, order: list[str], tmp_path: Path) -> None:
    other = teacher(tmp_path / "other", {"segmentation": Segmentation(("ground", "tree", "sky"))})
    said = refused(distill.main, *order, "--teachers.segmentation.model", str(other))
    assert "class 1 is 'tree' for it and 'box' in the data's card" in said


def test_a_teacher_of_another_unit(refused: Refused, order: list[str], tmp_path: Path) -> None:
    other = teacher(tmp_path / "other", {"depth": Segmentation(small.CLASSES)})
    said = refused(distill.main, *order, "--teachers.depth.model", str(other))
    assert "gives depth in '', not in 'metre'" in said


def test_a_changed_teacher(refused: Refused, order: list[str], tmp_path: Path) -> None:
    other = teacher(tmp_path / "other", {"depth": Depth()})
    weights = bytearray((other / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "weights.safetensors").write_bytes(weights)
    assert "its digest differs" in refused(distill.main, *order, "--teachers.depth.model", str(other))


def teacher(folder: Path, tasks: dict[str, Task]) -> Path:
    recipe = Joint(width=4, decoder=8)
    return write(save(Model(recipe, tasks, *small.SIZE), recipe.build(tasks).state_dict()), folder)


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("labels", encode_png(spoilt(LABELS, 7)), "label 7 is not among 3 classes"),
        ("depth", encode_npy(spoilt(DEPTH, np.inf)), "1 depths are 0, negative or infinite"),
        ("depth", encode_npy(spoilt(DEPTH, 0)), "1 depths are 0, negative or infinite"),
        ("depth", encode_npy(spoilt(DEPTH, -2)), "1 depths are 0, negative or infinite"),
        ("depth", encode_npy(DEPTH[:-1]), "the truth is 31x64 but the card says 32x64"),
        ("image", encode_png(np.zeros((30, 64, 3), np.uint8)), "the image is 30x64 but the card says 32x64"),
        ("image", IMAGE[:60], "the image is damaged"),
        ("image", b"GIF89a", "the image is no PNG or JPEG"),
    ],
    ids=["label-7", "infinite", "zero", "negative", "small-depth", "small-image", "cut-image", "gif"],
)
def test_a_cell_that_cannot_be_used(
    refused: Refused, order: list[str], tmp_path: Path, column: str, cell: bytes, reason: str
) -> None:
    data = frames(tmp_path / "mine", **{column: cell})
    said = refused(distill.main, *order, "--data", str(data))
    assert reason in said
    assert f"train-00000.parquet, key 'train/0', column '{column}'" in said


def test_no_validation_split(refused: Refused, order: list[str], tmp_path: Path) -> None:
    data = frames(tmp_path / "mine", splits=("train",))
    assert "has no split 'val'" in refused(distill.main, *order, "--data", str(data))


def test_a_truncated_shard(refused: Refused, order: list[str], tmp_path: Path) -> None:
    data = frames(tmp_path / "mine")
    shard = data / "train-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-100])
    said = refused(distill.main, *order, "--data", str(data))
    assert "train-00000.parquet is no whole Parquet file" in said


def test_a_foreign_shard(refused: Refused, order: list[str], flags: list[str], tmp_path: Path) -> None:
    theirs = Path(flags[flags.index("--data") + 1])
    write({file.name: file.read_bytes() for file in theirs.iterdir()}, tmp_path / "mine")
    (tmp_path / "mine" / "val-00000.parquet").write_bytes((theirs / "train-00000.parquet").read_bytes())
    said = refused(distill.main, *order, "--data", f"{tmp_path}/mine")
    assert "val-00000.parquet" in said
    assert "has not the digest on its card" in said


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--sampling.labelled", "20", "--sampling.batch", "16"], "cannot hold 20 labelled slots"),
        (["--sampling.labels.depth", "1.5"], "is no share"),
        (["--sharding", "shard", "--workers", "1"], "needs at least 2 workers"),
        (["--workers", "-1"], "is no number of workers"),
        (["--weighting", "nonsense"], "--weighting knows no 'nonsense': choose "),
        (["--trajectory", "own-past,nonsense"], "--trajectory knows no 'nonsense': choose "),
        (["--optimise.steps", "0"], "trains nothing"),
        (["--optimise.learning-rate", "nan"], "must be a number above 0"),
        (["--optimise.clip", "-1"], "--optimise.clip -1.0 is out of range"),
        (["--optimise.momentum", "1"], "--optimise.momentum 1.0 is out of range"),
        (["--augment.gamma", "1.5"], "--augment.gamma 1.5 is no relative change"),
        (["--seed", "-1"], "--seed -1"),
        (["--micro-batch", "-1"], "give at least 0"),
        (["--run", "a/b"], "--run 'a/b' is no name"),
        (["--device", "cuda"], "sees no CUDA device"),
        (["--compile"], "--compile is for CUDA"),
        (["--student.width", "0"], "needs width ≥ 1"),
        # What only data, teachers and networks together can tell.
        (["--floors.segmentation/miou", "0.99"], "the floor is 0.990"),
        (
            ["--sampling.labels.depth", "0", "--teachers.depth.model", "SEGMENTATION"],
            "Nobody teaches 'depth'",
        ),
        (["--sampling.labels.depth", "0.01", "--sampling.labels.segmentation", "0.01"], "has a label left"),
        (["--tasks.depth.min-m", "1000", "--tasks.depth.max-m", "2000"], "No pixel of 'depth' counts"),
        (["--trajectory", "teacher-way"], "needs a teacher with at least two anchors"),
        (["--trajectory", "own-past", "--trajectory.0.layer", "neck"], "looks at the layer 'neck'"),
        (["--student.backbone", "resnet18"], "pip install 'jointdistill[zoo]'"),
    ],
)
def test_options_that_contradict(refused: Refused, order: list[str], wrong: list[str], reason: str) -> None:
    segmentation = order[order.index("--teachers.segmentation.model") + 1]
    wrong = [segmentation if word == "SEGMENTATION" else word for word in wrong]
    assert reason in refused(distill.main, *order, *wrong)


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"tasks": {}}, "has no task"),
        ({"distil": ()}, "has teachers but no distillation loss"),
        (
            {"distil": (TemperedKL(), TemperedKL(temperature=4.0))},
            "compares segmentation twice by tempered_kl",
        ),
        ({"distil": (TemperedKL("normals"),)}, "compares 'normals', which is not among the tasks"),
        ({"teachers": {"labels": Registered("mine")}}, "cannot be called 'labels'"),
        (
            {"floors": {"depth/absrel": 0.5}},
            "names 'depth/absrel', which is no score: choose of depth/abs_rel",
        ),
        ({"floors": {"depth": 0.5}}, "names 'depth', which is no score"),
        ({"sampling": Sampling(labels={"dpeth": 0.05})}, "names 'dpeth', which is not among the tasks"),
        ({"anchors": -1}, "--anchors -1"),
    ],
)
def test_an_experiment_that_contradicts_itself(knobs: dict[str, Any], reason: str) -> None:
    with pytest.raises(Refusal, match=re.escape(reason)):
        replace(distill.scenes(), **knobs)


@pytest.mark.parametrize(
    "wrong",
    [["--no-such-flag", "1"], ["--workers", "many"], ["--device", "abacus"], ["--optimise.steps"]],
)
def test_flags_that_do_not_parse(refused: Refused, order: list[str], wrong: list[str]) -> None:
    assert wrong[0] in refused.ended(distill.main, *order, *wrong)


def test_a_storage_that_cannot_be_written(refused: Refused, order: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refused(distill.main, *order, "--storage", f"{tmp_path}/file/storage")
    assert "cannot be used as a folder" in said


def test_a_cache_that_cannot_be_written(refused: Refused, order: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "training cache" in refused(distill.main, *order, "--cache", f"{tmp_path}/file/cache")


@pytest.mark.timeout(60)
def test_a_storage_that_does_not_answer(
    refused: Refused, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    said = refused(distill.main, *order, "--storage", "s3://nowhere/storage")
    assert "s3://nowhere/storage failed" in said
    assert "secret" not in said


def test_a_database_that_cannot_be_made(refused: Refused, order: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refused(distill.main, *order, "--tracking", f"sqlite:///{tmp_path}/file/mlflow.db")
    assert said.startswith(f"MLflow at sqlite:///{tmp_path}/file/mlflow.db failed")


@pytest.mark.timeout(60)
def test_an_mlflow_that_does_not_answer(refused: Refused, order: list[str]) -> None:
    said = refused(distill.main, *order, "--tracking", "http://127.0.0.1:9", "--tracking-wait-s", "0")
    assert said.startswith("MLflow at http://127.0.0.1:9 failed")


def test_a_relative_storage_in_a_submitted_job(
    refused: Refused, order: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    assert "is relative" in refused(distill.main, *order, "--storage", "storage")
    assert "give --storage" in refused(distill.main, *order, "--storage", "")
    assert "is relative" in refused(distill.main, *order, "--tracking", "sqlite:///mlflow.db")


def test_another_data_set_in_the_way(refused: Refused, tmp_path: Path) -> None:
    data = frames(tmp_path / "scenes")
    (tmp_path / "data").mkdir()
    data.rename(tmp_path / "data" / "scenes")
    said = refused(prepare.main, "scenes", "--storage", str(tmp_path))
    assert "holds another data set (name mine, not scenes)" in said


@pytest.mark.parametrize("workers", ["4:1", "-1:2", "0:-1"])
def test_a_range_of_workers_begins_with_the_fewest(refused: Refused, workers: str) -> None:
    said = refused(distill.main, "scenes", f"--workers={workers}")
    assert "--workers" in said and ("is no range" in said or "is no number of workers" in said)


def test_a_sharded_run_cannot_shrink_to_one_worker(refused: Refused) -> None:
    said = refused(distill.main, "scenes", "--workers", "1:4", "--sharding", "shard")
    assert "--sharding shard needs at least 2 workers" in said
