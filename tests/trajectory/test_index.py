"""The index says what the manifests say, whatever became of the file of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.trajectory.index import index, put_index
from tests.trajectory.replays import FOLDER, replayed, rows, write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two anchors of two parts."""
    store = open_store(str(tmp_path))
    for step in (50, 100):
        write(replayed(store, step), rows(9, step), world=2)
    put_index(store, FOLDER)
    return store


def file(store: Store, name: str = "index.parquet") -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(store.get(f"{FOLDER}/{name}")))


def indices(store: Store) -> list[str]:
    return [key.rpartition("/")[2] for key in store.list(FOLDER) if key.endswith(".parquet")]


def test_it_says_what_the_manifests_say(store: Store) -> None:
    frame = index(store)
    assert frame["step"].tolist() == [50, 50, 100, 100]
    assert frame["rows"].tolist() == [5, 4, 5, 4]
    assert set(frame["teacher"]) == {"wise"} and set(frame["question"]) == {"why"}
    assert set(frame["layer"]) == {"decoder"} and set(frame["points"]) == {32}
    assert set(frame["depth.loss"]) == {0.25} and frame["segmentation.loss"].isna().all()
    said = [
        {**part, "file": f"{FOLDER}/{step:09d}/{part['file']}"}
        for step in (50, 100)
        for part in json.loads(store.get(f"{FOLDER}/{step:09d}/manifest.json"))["parts"]
    ]
    assert frame[["file", "sha256", "bytes", "rows"]].to_dict("records") == said
    assert [len(store.get(key)) for key in frame["file"]] == frame["bytes"].tolist()


def test_pandas_alone_reads_the_file(store: Store) -> None:
    pd.testing.assert_frame_equal(file(store), index(store))


def test_the_same_again_is_left_alone(store: Store) -> None:
    put_index(store, FOLDER)
    assert indices(store) == ["index.parquet"]


def test_a_file_that_is_gone_is_written_again(tmp_path: Path, store: Store) -> None:
    before = index(store)
    (tmp_path / FOLDER / "index.parquet").unlink()
    pd.testing.assert_frame_equal(index(store), before)
    put_index(store, FOLDER)
    pd.testing.assert_frame_equal(file(store), before)


@pytest.mark.parametrize("content", [b"", b"nothing"])
def test_a_damaged_file_is_written_beside_it(tmp_path: Path, store: Store, content: bytes) -> None:
    before = index(store)
    (tmp_path / FOLDER / "index.parquet").write_bytes(content)
    pd.testing.assert_frame_equal(index(store), before)
    put_index(store, FOLDER)
    pd.testing.assert_frame_equal(file(store, "index-2.parquet"), before)


def test_a_stale_file_is_written_beside_it(tmp_path: Path, store: Store) -> None:
    """An anchor whose part is gone is asked anew; the index then lists the newer attempt only."""
    next(tmp_path.glob(f"{FOLDER}/000000100/1-*.arrow")).unlink()
    assert write(replayed(store), rows(9)) == "000000100-2"
    frame = index(store)
    assert frame["step"].tolist() == [50, 50, 100]
    assert frame["file"].str.contains("/000000100-2/").tolist() == [False, False, True]
    put_index(store, FOLDER)
    pd.testing.assert_frame_equal(file(store, "index-2.parquet"), frame)


def test_a_damaged_manifest_says_nothing(tmp_path: Path, store: Store) -> None:
    (tmp_path / FOLDER / "000000050" / "manifest.json").write_bytes(b"{}")
    assert index(store)["step"].tolist() == [100, 100]


def test_nothing_on_the_store_is_an_empty_table(tmp_path: Path) -> None:
    frame = index(open_store(str(tmp_path / "elsewhere")))
    assert not len(frame)
    assert {"teacher", "step", "file"} <= set(frame.columns)
