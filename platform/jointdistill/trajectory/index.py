"""One table of what replayed records lie on a store, for pandas."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from jointdistill.store.base import AlreadyThere, Store
from jointdistill.trajectory.replayed import MANIFEST, attempt_name, attempts, read_manifest

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = {
    "teacher": pa.string(),
    "question": pa.string(),
    "step": pa.int64(),
    "layer": pa.string(),
    "points": pa.int64(),
    "rows": pa.int64(),
    "bytes": pa.int64(),
    "file": pa.string(),
    "sha256": pa.string(),
}


def index(store: Store, below: str = "trajectories") -> DataFrame:
    """One row a part of every anchor below `trajectories/TEACHER/QUESTION`, or higher up.

    It is made from the manifests alone, of each anchor the newest that holds: no file of it is read, and
    what became of the parts since they were written it cannot tell. `file` is the part's key, `TASK.loss`
    the anchor's loss on the feedback slice.
    """
    frame: DataFrame = _table(store, below).to_pandas()
    return frame


def put_index(store: Store, folder: str) -> None:
    """Lay the index of `trajectories/TEACHER/QUESTION` beside what it lists, for who only has pandas.

    It is `index.parquet`, or where that is not what the manifests say, `index-2.parquet`, `index-3.parquet` …
    """
    sink = pa.BufferOutputStream()
    pq.write_table(_table(store, folder), sink)
    content = bytes(sink.getvalue())
    newest = max(attempts(store, folder, "index", ".parquet"), default=0)
    # By its bytes, since a damaged file is not to be parsed. Another version of pyarrow may write other ones;
    # then the same index lies there twice.
    if newest and store.get(f"{folder}/{attempt_name('index', newest, '.parquet')}") == content:
        return
    with suppress(AlreadyThere):
        store.put(f"{folder}/{attempt_name('index', newest + 1, '.parquet')}", content)


def _table(store: Store, below: str) -> pa.Table:
    newest: dict[tuple[str, str], tuple[int, list[dict[str, Any]]]] = {}
    for key in store.list(below):
        folder, _, file = key.rpartition("/")
        if file != MANIFEST:
            continue
        with suppress(ValueError):
            rows = _rows(folder, read_manifest(store.get(key)))
            question, _, name = folder.rpartition("/")
            step, _, again = name.partition("-")
            attempt = int(again or 1)
            if attempt > newest.get((question, step), (0, []))[0]:
                newest[question, step] = attempt, rows
    rows = [row for anchor in sorted(newest) for row in newest[anchor][1]]
    losses = sorted({column for row in rows for column in row} - _COLUMNS.keys())
    return pa.Table.from_pylist(rows, pa.schema({**_COLUMNS, **dict.fromkeys(losses, pa.float64())}))


def _rows(folder: str, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    _, teacher, question, _ = folder.split("/")
    anchor = {
        "teacher": teacher,
        "question": question,
        "step": manifest["step"],
        **{f"{task}.loss": loss for task, loss in manifest["losses"].items()},
        "layer": manifest["layout"]["layer"],
        "points": manifest["layout"]["points"],
    }
    return [{**anchor, **part, "file": f"{folder}/{part['file']}"} for part in manifest["parts"]]
