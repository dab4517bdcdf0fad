from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jointdistill.data import cache as cache_module
from jointdistill.data.cache import Cache, build_cache, open_cache
from jointdistill.data.cache_file import CHUNK, Column
from jointdistill.data.cells import encode_png
from jointdistill.data.format import write_set
from jointdistill.data.samples import read_split
from jointdistill.data.shards import Row
from jointdistill.store.base import Store
from jointdistill.tasks.base import Task
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import Card, Refusal

MakeRow = Callable[..., Row]
IMAGES = CHUNK + 7


@pytest.fixture
def tasks(card: Card) -> dict[str, Task]:
    return {"depth": Depth(), "segmentation": Segmentation().described_by(card)}


@pytest.fixture
def written(store: Store, card: Card, row: MakeRow) -> Card:
    rows = (row(n, labels=None) if n % 3 else row(n) for n in range(IMAGES))
    return write_set(store, card, {"train": rows, "val": [row(1000)]}, ["depth", "labels"], frames=50)


@pytest.fixture
def cache(store: Store, written: Card, tasks: dict[str, Task], tmp_path: Path) -> Cache:
    return build_cache(store, written, "train", tasks, tmp_path)


def test_it_holds_what_the_split_holds(
    cache: Cache, store: Store, written: Card, tasks: dict[str, Task]
) -> None:
    samples = list(read_split(store, written, "train", tasks))
    assert cache.keys == [sample.key for sample in samples]
    assert (len(cache), cache.height, cache.width) == (IMAGES, 4, 6)
    everything = np.arange(IMAGES)
    assert (cache.image(everything) == np.stack([sample.image for sample in samples])).all()
    for name, task in tasks.items():
        assert cache.has(name).tolist() == [name in sample.truth for sample in samples]
        expected = np.stack([sample.truth.get(name, task.unknown(4, 6)) for sample in samples])
        truth = cache.truth(name, everything)
        assert truth.dtype == expected.dtype
        assert np.array_equal(truth, expected)


def test_rows_come_in_any_order_and_more_than_once(cache: Cache) -> None:
    rows = np.array([IMAGES - 1, 0, CHUNK, CHUNK - 1, 0])
    assert (cache.image(rows) == cache.image(np.arange(IMAGES))[rows]).all()
    assert (cache.truth("depth", rows) == cache.truth("depth", np.arange(IMAGES))[rows]).all()


def test_what_it_hands_out_may_be_changed(cache: Cache) -> None:
    rows = np.array([3])
    torch.from_numpy(cache.image(rows)).zero_()  # warns, that is fails, on a read-only array
    assert cache.image(rows).any()


def test_it_is_built_once(
    cache: Cache, store: Store, written: Card, tasks: dict[str, Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "write", None)
    other_knobs = tasks | {"depth": Depth(max_m=10)}
    assert build_cache(store, written, "train", other_knobs, cache.path.parent).path == cache.path


def test_whatever_changes_its_content_changes_its_name(
    cache: Cache, store: Store, written: Card, tasks: dict[str, Task]
) -> None:
    folder = cache.path.parent
    others = [
        build_cache(store, written, "val", tasks, folder),
        build_cache(store, written, "train", {"depth": tasks["depth"]}, folder),
        build_cache(store, replace(written, fingerprint="other"), "train", tasks, folder),
    ]
    assert len({cache.path, *(other.path for other in others)}) == 4


def test_of_racing_builders_one_works(
    store: Store, written: Card, tasks: dict[str, Task], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []

    def counted(*given: object) -> None:
        built.append(given)
        write(*given)

    write = cache_module.write
    monkeypatch.setattr(cache_module, "write", counted)
    with ThreadPoolExecutor(4) as pool:
        builders = [pool.submit(build_cache, store, written, "train", tasks, tmp_path) for _ in range(4)]
    assert len({builder.result().path for builder in builders}) == 1
    assert len(built) == 1


def test_a_failed_builder_leaves_no_file(store: Store, card: Card, row: MakeRow, tmp_path: Path) -> None:
    card = write_set(store, card, {"train": [row(n) for n in range(CHUNK)] + [row(CHUNK, image=b"x")]}, [])
    with pytest.raises(Refusal, match="frame-64"):
        build_cache(store, card, "train", {}, tmp_path)
    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]


def test_another_process_opens_the_same_file(cache: Cache) -> None:
    pickled = pickle.dumps(cache)
    assert len(pickled) < 1000
    assert (pickle.loads(pickled).image(np.array([5])) == cache.image(np.array([5]))).all()


def test_a_truncated_file_is_refused(cache: Cache) -> None:
    cache.path.write_bytes(cache.path.read_bytes()[:-100])
    with pytest.raises(Refusal, match=r"is no training cache .* delete it"):
        open_cache(cache.path)


def test_a_folder_that_cannot_hold_it_is_refused(store: Store, written: Card, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        Refusal, match=r"cannot be written to .*/file/cache .*make room, or choose another folder"
    ):
        build_cache(store, written, "train", {}, tmp_path / "file" / "cache")


def test_classes_take_two_bytes_and_come_back_as_they_were() -> None:
    labels = np.array([[0, 254], [255, 3]], np.int64)
    column = Column.of(labels)
    assert column.width == 8
    assert (column.view(column.pack([labels, labels])) == labels).all()
    with pytest.raises(Refusal, match="beyond 32767"):
        column.pack([labels + 40_000])


def test_an_unlabelled_truth_is_unknown(cache: Cache) -> None:
    assert not cache.has("segmentation")[1]
    assert (cache.truth("segmentation", np.array([1])) == 255).all()


def test_png_cells_are_not_kept(cache: Cache, row: MakeRow) -> None:
    assert encode_png(np.zeros((4, 6), np.uint8))[:8] not in cache.path.read_bytes()
