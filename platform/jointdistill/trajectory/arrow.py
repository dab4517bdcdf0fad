"""Records as Arrow IPC files: fixed-size lists that pandas reads and that can be memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jointdistill.trajectory.record import Layout, Records
from jointdistill.types import JSON

SCHEMA = 2
"""Raised whenever a column changes its meaning. 2: rows name their image."""


class Rows(NamedTuple):
    """Records of some images."""

    image: Tensor
    """[n] int64 rows of the training cache, each once."""
    records: Records
    """One row an image, in that order."""


def header(layout: Layout, fingerprints: Mapping[str, str]) -> dict[str, JSON]:
    """What records are: `fingerprints` name what they hang on (the data, the labels, the model)."""
    return {"schema": SCHEMA, "layout": layout.describe(), "fingerprints": dict(fingerprints)}


def check(theirs: Mapping[str, JSON], layout: Layout, fingerprints: Mapping[str, str]) -> None:
    """Raises `ValueError` where a header is not of this schema, of this layout and of these fingerprints."""
    if theirs.get("schema") != SCHEMA:
        raise ValueError(f"it is not of schema {SCHEMA}")
    if theirs.get("layout") != layout.describe():
        raise ValueError("it has another layer, grid, number of points or tasks than the run")
    found = theirs.get("fingerprints")
    for what, ours in fingerprints.items():
        other = found.get(what) if isinstance(found, dict) else None
        if other != ours:
            raise ValueError(f"it hangs on another {what} ({other}, not {ours})")


def to_bytes(rows: Rows, fingerprints: Mapping[str, str]) -> bytes:
    """An Arrow IPC file of the rows, with their header."""
    said = {name: json.dumps(value) for name, value in header(rows.records.layout, fingerprints).items()}
    table = _table(rows).replace_schema_metadata(said)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_bytes(stored: bytes, layout: Layout, fingerprints: Mapping[str, str]) -> Rows:
    """The rows of a file.

    Raises `ValueError` where it is no such file, or `check` does.
    """
    try:
        table = pa.ipc.open_file(pa.BufferReader(stored)).read_all()
    except (pa.ArrowException, OSError) as damage:
        raise ValueError("it is no Arrow file or is damaged") from damage
    theirs = table.schema.metadata or {}
    check({name.decode(): json.loads(value) for name, value in theirs.items()}, layout, fingerprints)
    nobody = Rows(torch.empty(0, dtype=torch.int64), Records.empty(layout, 0))
    if not table.schema.equals(_table(nobody).schema):
        raise ValueError("it has other columns than its header says")
    tensors = {name: _to_tensor(table[name], dtype, shape) for name, (dtype, shape) in layout.columns.items()}
    return Rows(_to_tensor(table["image"], torch.int64, ()), Records(layout, tensors))


def _table(rows: Rows) -> pa.Table:
    arrays = {name: _to_arrow(name, values) for name, values in rows.records.tensors.items()}
    return pa.table({"image": pa.array(rows.image.cpu().numpy().astype(np.int32)), **arrays})


def _to_arrow(name: str, values: Tensor) -> pa.Array:
    flat = values.cpu().numpy()
    if name == "cell":
        flat = flat.astype(np.uint16)
    array = pa.array(flat.reshape(-1))
    width = int(np.prod(flat.shape[1:]))
    return array if flat.ndim == 1 else pa.FixedSizeListArray.from_arrays(array, width)


def _to_tensor(column: pa.ChunkedArray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    array = column.combine_chunks()
    flat = array.flatten() if shape else array
    values = np.array(flat.to_numpy(zero_copy_only=False))  # a copy: Arrow's own buffers are read-only
    if values.dtype == np.uint16 and dtype == torch.int16:
        values = values.astype(np.int16)
    return torch.from_numpy(values).to(dtype).reshape(len(column), *shape)
