"""Every fault of a data set ends in one sentence with file, key and remedy, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from jointdistill.data.cells import encode_npy, encode_png
from jointdistill.data.format import write_set
from jointdistill.data.samples import read_split
from jointdistill.data.shards import Row, encode_shard
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.store.sealed import sha256
from jointdistill.tasks.base import Task
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import Card, Refusal

MakeRow = Callable[..., Row]
FLAT = np.full((4, 6), 2.0, np.float32)


@pytest.fixture
def tasks(card: Card) -> dict[str, Task]:
    return {"depth": Depth(), "segmentation": Segmentation().described_by(card)}


def with_pixel(value: float) -> bytes:
    depth = FLAT.copy()
    depth[1, 2] = value
    return encode_npy(depth)


def put_shards(store: Store, card: Card, **shards: bytes) -> Card:
    """A card that lists the shards, as a foreign writer might have made it."""
    files = {f"{split}-00000.parquet": stored for split, stored in shards.items()}
    for file, stored in files.items():
        store.put(file, stored)
    return replace(card, splits={"train": 2}, shards={file: sha256(stored) for file, stored in files.items()})


def test_samples_come_in_order_and_in_the_tasks_units(
    store: Store, card: Card, row: MakeRow, tasks: dict[str, Task]
) -> None:
    rows = [row(0), row(1, depth=None), row(2, labels=None), row(3, depth=with_pixel(np.nan))]
    card = write_set(store, card, {"train": rows}, ["depth", "labels"], frames=3)
    samples = list(read_split(store, card, "train", tasks))
    assert [sample.key for sample in samples] == [f"frame-{number}" for number in range(4)]
    assert [set(sample.truth) for sample in samples] == [
        {"depth", "segmentation"},
        {"segmentation"},
        {"depth"},
        {"depth", "segmentation"},
    ]
    assert (samples[2].truth["depth"] == np.float32(1.02)).all()
    assert np.isnan(samples[3].truth["depth"]).sum() == 1
    assert (samples[0].truth["segmentation"] == samples[0].image[0] // 128).all()


def test_a_truth_without_a_known_pixel_is_no_label(
    store: Store, card: Card, row: MakeRow, tasks: dict[str, Task]
) -> None:
    empty = {
        "depth": encode_npy(np.full_like(FLAT, np.nan)),
        "labels": encode_png(np.full((4, 6), 255, np.uint8)),
    }
    card = write_set(store, card, {"train": [row(0), row(1, **empty)]}, ["depth", "labels"])
    known, unknown = read_split(store, card, "train", tasks)
    assert set(known.truth) == set(tasks) and not unknown.truth


def test_two_tasks_may_share_a_column(store: Store, card: Card, row: MakeRow) -> None:
    card = write_set(store, card, {"train": [row(0)]}, ["depth"])
    sample = next(read_split(store, card, "train", {"near": Depth(max_m=2), "far": Depth()}))
    assert (sample.truth["near"] == sample.truth["far"]).all()


@pytest.mark.parametrize(
    ("cells", "sentence"),
    [
        ({"image": b"hello"}, "column 'image': the image is no PNG or JPEG"),
        ({"image": encode_png(np.zeros((3, 6, 3), np.uint8))}, "column 'image': the image is 3x6"),
        ({"depth": b""}, "column 'depth': the cell is neither PNG nor NPY"),
        ({"depth": encode_npy(FLAT)[:-1]}, "column 'depth': the cell is damaged"),
        ({"depth": encode_npy(FLAT[:, :3])}, "column 'depth': the truth is 4x3 but the card says 4x6"),
        ({"depth": with_pixel(np.inf)}, "column 'depth': .*infinite"),
        ({"depth": with_pixel(0)}, "column 'depth': .*NaN where unknown"),
        ({"depth": with_pixel(-1)}, "column 'depth': .*negative"),
        ({"labels": encode_png(np.full((4, 6), 2, np.uint8))}, "column 'labels': label 2"),
        ({"labels": encode_npy(FLAT)}, "column 'labels': labels are integers"),
    ],
)
def test_an_unfit_cell_is_refused(
    store: Store, card: Card, row: MakeRow, tasks: dict[str, Task], cells: dict[str, Any], sentence: str
) -> None:
    card = write_set(store, card, {"val": [row(0), row(1, **cells)]}, ["depth", "labels"])
    with pytest.raises(Refusal, match=rf"^val-00000\.parquet, key 'frame-1', {sentence}.*\.$"):
        list(read_split(store, card, "val", tasks))


def test_an_unknown_split_is_refused_with_those_there_are(store: Store, card: Card, row: MakeRow) -> None:
    card = write_set(store, card, {"train": [row(0)], "val": [row(1)]}, [])
    with pytest.raises(Refusal, match="'tiny' has no split 'test', only train, val: add files"):
        list(read_split(store, card, "test", {}))


def test_a_task_without_a_column_is_refused(
    store: Store, card: Card, row: MakeRow, tasks: dict[str, Task]
) -> None:
    card = write_set(store, card, {"train": [row(0)]}, ["depth"])
    with pytest.raises(
        Refusal, match=r"train-00000\.parquet has no column 'labels' for task segmentation: add"
    ):
        list(read_split(store, card, "train", tasks))


def test_a_changed_shard_is_refused(store: Store, card: Card, row: MakeRow) -> None:
    card = write_set(store, card, {"train": [row(0)]}, ["depth"])
    other = open_store("memory://")
    other.put("train-00000.parquet", store.get("train-00000.parquet") + b" ")
    with pytest.raises(Refusal, match=r"train-00000\.parquet in memory: has not the digest on its card"):
        list(read_split(other, card, "train", {}))


def test_a_lost_shard_is_refused(card: Card, row: MakeRow) -> None:
    card = write_set(open_store("memory://"), card, {"train": [row(0)]}, ["depth"])
    with pytest.raises(Refusal, match=r"train-00000\.parquet is on the card but not in"):
        list(read_split(open_store("memory://"), card, "train", {}))


def test_a_key_may_not_come_twice(store: Store, card: Card, row: MakeRow) -> None:
    card = put_shards(store, card, train=encode_shard([row(0), row(0)], []))
    with pytest.raises(Refusal, match=r"train-00000\.parquet has key 'frame-0' a second time"):
        list(read_split(store, card, "train", {}))


def test_a_wrong_count_is_refused(store: Store, card: Card, row: MakeRow) -> None:
    card = put_shards(store, card, train=encode_shard([row(0)], []))
    with pytest.raises(Refusal, match="has 1 images, but 2 on its card"):
        list(read_split(store, card, "train", {}))


def test_a_damaged_page_is_refused(store: Store, card: Card, row: MakeRow) -> None:
    stored = encode_shard([row(0), row(1)], [])
    card = put_shards(store, card, train=stored[:4] + bytes(200) + stored[204:])
    with pytest.raises(Refusal, match=r"train-00000\.parquet is damaged: copy or write it again"):
        list(read_split(store, card, "train", {}))
