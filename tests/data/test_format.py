from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jointdistill.data.card import dump
from jointdistill.data.format import read_card, write_set
from jointdistill.data.shards import Row
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Card, Refusal

MakeRow = Callable[..., Row]
COLUMNS = ("depth", "labels")


def write(store: Store, card: Card, row: MakeRow, images: int = 5) -> Card:
    splits = {"train": map(row, range(images)), "val": [row(number) for number in (100, 101)]}
    return write_set(store, card, splits, COLUMNS, frames=2)


def test_what_was_written_is_read(store: Store, card: Card, row: MakeRow) -> None:
    written = write(store, card, row)
    assert read_card(store) == written
    assert written.splits == {"train": 5, "val": 2}
    assert list(written.shards) == [
        "train-00000.parquet",
        "train-00001.parquet",
        "train-00002.parquet",
        "val-00000.parquet",
    ]


def test_pandas_reads_every_cell(store: Store, card: Card, row: MakeRow) -> None:
    write(store, card, row)
    frames = pd.read_parquet(io.BytesIO(store.get("train-00002.parquet")))
    assert frames["key"].tolist() == ["frame-4"]
    assert frames["image"][0] == row(4).image
    assert frames["depth"][0] == row(4).truths["depth"]


def test_a_card_without_shards_is_completed(store: Store, card: Card, row: MakeRow) -> None:
    written = write(store, card, row)
    copy = open_store("memory://")
    for file in written.shards:
        copy.put(file, store.get(file))
    copy.put("notes/readme.parquet", b"not at the top")
    copy.put("card.json", dump(card))
    assert read_card(copy) == written


def test_a_killed_writer_goes_on(store: Store, card: Card, row: MakeRow) -> None:
    def killed() -> list[Row]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_set(
            store, card, {"train": (row(n) if n < 4 else killed() for n in range(5))}, COLUMNS, frames=2
        )
    assert list(store.list()) == ["train-00000.parquet", "train-00001.parquet"]
    with pytest.raises(Refusal, match=r"There is no card\.json"):
        read_card(store)
    assert write(store, card, row) == write(open_store("memory://"), card, row)


def test_another_data_set_is_not_overwritten(store: Store, card: Card, row: MakeRow) -> None:
    write(store, card, row)
    with pytest.raises(Refusal, match=r"already holds another card\.json: choose an empty folder"):
        write(store, replace(card, depth_scale=10), row)
    with pytest.raises(Refusal, match=r"already holds another train-00000\.parquet"):
        write(store, card, lambda number: row(number + 7))


def test_a_card_that_could_not_be_read_is_not_written(store: Store, card: Card, row: MakeRow) -> None:
    with pytest.raises(Refusal, match="depth_scale"):
        write(store, replace(card, depth_scale=-1), row)
    assert list(store.list()) == []


def test_a_key_is_unique_over_all_splits(store: Store, card: Card, row: MakeRow) -> None:
    with pytest.raises(Refusal, match=r"val-00000\.parquet has key 'frame-100'"):
        write(store, card, row, images=101)


def parquet(**columns: list[object]) -> bytes:
    return written(pa.table(columns))


def written(table: pa.Table) -> bytes:
    pq.write_table(table, sink := pa.BufferOutputStream())
    return bytes(sink.getvalue())


ONE = parquet(key=["a"], image=[b""])
NONE = parquet(key=[], image=[])
TWO_KEYS = written(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["key", "key"]))
LATIN_1 = pa.array(["Straße".encode("latin-1")]).cast(pa.string(), safe=False)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "There is no SPLIT-00000.parquet"),
        ({"train.parquet": ONE}, r"train\.parquet in memory: is not named like a shard"),
        ({"train-00000.parquet": ONE, "train-00002.parquet": ONE}, r"train-00001\.parquet is missing"),
        ({"train-00000.parquet": ONE[:-9]}, r"train-00000\.parquet is no whole Parquet file"),
        ({"train-00000.parquet": b""}, "is no whole Parquet file"),
        ({"train-00000.parquet": parquet(image=[b""])}, "has no column 'key'"),
        ({"train-00000.parquet": parquet(key=["a", None])}, "has no key in row 1"),
        ({"train-00000.parquet": parquet(key=[[1]])}, "holds list.* in column 'key': it must be string"),
        (
            {"train-00000.parquet": written(pa.table({"key": LATIN_1}))},
            "holds text in column 'key' that is not UTF-8",
        ),
        ({"train-00000.parquet": TWO_KEYS}, "has 2 columns 'key': keep one of them"),
        ({"train-00000.parquet": parquet(key=["a", "a"])}, "has key 'a'"),
        ({"train-00000.parquet": ONE, "val-00000.parquet": ONE}, r"val-00000\.parquet has key 'a'"),
        ({"train-00000.parquet": ONE, "val-00000.parquet": NONE}, "The split 'val' of memory: has no image"),
    ],
)
def test_foreign_files_are_refused(store: Store, card: Card, files: dict[str, bytes], sentence: str) -> None:
    store.put("card.json", dump(card))
    for file, stored in files.items():
        store.put(file, stored)
    with pytest.raises(Refusal, match=sentence):
        read_card(store)


def test_a_count_on_the_card_must_be_right(store: Store, card: Card) -> None:
    store.put("card.json", dump(replace(card, splits={"train": 2})))
    store.put("train-00000.parquet", ONE)
    with pytest.raises(Refusal, match=r"holds \{'train': 1\} images, not \{'train': 2\}"):
        read_card(store)


def test_a_listed_shard_must_be_there(store: Store, card: Card) -> None:
    store.put("card.json", dump(replace(card, shards={"train-00000.parquet": "0" * 64})))
    with pytest.raises(Refusal, match=r"train-00000\.parquet is on the card but not in memory:"):
        read_card(store)
