"""The code in docs/data-format.md is what a stranger copies: it is executed here as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdistill.data.cache import build_cache
from jointdistill.data.cells import decode_image
from jointdistill.data.format import read_card
from jointdistill.store.objects import open_store
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation

DOC = Path(__file__).parents[2] / "docs" / "data-format.md"
WRITE, PANDAS, DUCKDB = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(WRITE, names)
    return names


def test_it_is_short() -> None:
    assert len([line for line in WRITE.splitlines() if line.strip()]) <= 20


def test_what_pandas_wrote_can_be_trained_on(written: dict[str, Any], tmp_path: Path) -> None:
    store = open_store("mine")
    card = read_card(store)
    assert card.splits == {"train": 32, "val": 8}
    tasks = {"depth": Depth(), "segmentation": Segmentation().described_by(card)}
    cache = build_cache(store, card, "train", tasks, tmp_path / "cache")
    assert cache.has("depth").all()
    assert cache.has("segmentation").sum() == 8
    rows = np.array([4])
    assert cache.truth("depth", rows) == pytest.approx(1.5)
    image = cache.image(rows)[0]
    assert (image == decode_image(written["frame"](4)["image"], 48, 64)).all()
    assert (cache.truth("segmentation", rows)[0] == image[0] // 128).all()


def test_pandas_reads_it(written: dict[str, Any]) -> None:
    exec(PANDAS, written)
    assert len(written["frames"]) == 32
    assert (written["depth"] == 1.5).all()


def test_duckdb_reads_it(written: dict[str, Any]) -> None:
    exec(DUCKDB, written)
    assert written["counts"] == [(40, 10)]
