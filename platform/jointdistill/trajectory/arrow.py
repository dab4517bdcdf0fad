"""Records as Arrow IPC files: fixed-size lists that pandas reads and that can be memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from jointdistill.trajectory.record import Layout, Records
from jointdistill.types import Refusal

SCHEMA = 1
"""Raised whenever a column changes its meaning."""


def to_bytes(records: Records, fingerprints: Mapping[str, str]) -> bytes:
    """An Arrow IPC file of the records.

    `fingerprints` name what the records hang on (the data, the split, the model); they go into the header.
    """
    header = {
        "schema": str(SCHEMA),
        "layout": json.dumps(records.layout.describe(), sort_keys=True),
        "fingerprints": json.dumps(dict(fingerprints), sort_keys=True),
    }
    arrays = {name: _to_arrow(name, values) for name, values in records.tensors.items()}
    table = pa.table(arrays).replace_schema_metadata(header)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_bytes(stored: bytes, layout: Layout, fingerprints: Mapping[str, str], name: str) -> Records:
    """The records of the file called `name`.

    Raises `Refusal` where the file is damaged, of another schema or layout, or of other fingerprints.
    """
    try:
        table = pa.ipc.open_file(pa.BufferReader(stored)).read_all()
    except pa.ArrowInvalid as damage:
        raise Refusal(
            f"The records in {name} are no Arrow file or are damaged: delete it, and it is written anew."
        ) from damage
    _refuse_foreign(table.schema.metadata or {}, layout, fingerprints, name)
    tensors = {name: _to_tensor(table[name], dtype, shape) for name, (dtype, shape) in layout.columns.items()}
    return Records(layout, tensors)


def _refuse_foreign(
    header: Mapping[bytes, bytes], layout: Layout, fingerprints: Mapping[str, str], name: str
) -> None:
    if header.get(b"schema") != str(SCHEMA).encode():
        raise Refusal(f"The records in {name} are not of schema {SCHEMA}: write them anew with this version.")
    if json.loads(header.get(b"layout", b"0")) != layout.describe():
        raise Refusal(
            f"The records in {name} have another layer, grid, number of points or tasks than the run: write "
            "them anew."
        )
    theirs = json.loads(header.get(b"fingerprints", b"{}"))
    for what, ours in fingerprints.items():
        if theirs.get(what) != ours:
            raise Refusal(
                f"The records in {name} hang on another {what} ({theirs.get(what)}, not {ours}): write them "
                "anew."
            )


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
