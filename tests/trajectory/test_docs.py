"""The code in docs/trajectory.md is what a stranger copies: it is executed here as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jointdistill.store.objects import open_store
from jointdistill.trajectory.index import put_index
from tests.trajectory.replays import FOLDER, replayed, rows, write

DOC = Path(__file__).parents[2] / "docs" / "trajectory.md"
(PANDAS,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)


def test_pandas_reads_a_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store, said = open_store("storage"), rows(9)
    said.records.tensors["depth.log_depth"].div_(25)
    for step in (50, 100):
        write(replayed(store, step), said, world=2)
    put_index(store, FOLDER)
    names: dict[str, Any] = {}
    exec(PANDAS.replace("TEACHER/QUESTION", FOLDER.partition("/")[2]), names)

    order = said.image.argsort()
    order = order[said.records.known[order]]
    assert names["frame"].index.tolist() == said.image[order].tolist()
    assert np.array_equal(names["row"] * 32 + names["column"], said.records.cell[order].numpy())
    logs = said.records.columns("depth")["log_depth"][order, :, 0].float().exp()
    assert np.allclose(names["depth"], logs.numpy())
    classes = said.records.columns("segmentation")["top_class"][order]
    assert np.array_equal(names["classes"], classes.numpy())
