"""The file of a training cache: Arrow IPC, uncompressed, each column an array of fixed size a row."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jointdistill.data.samples import Sample
from jointdistill.types import JSON, Refusal

LAYOUT = 3
"""Counts changes of the layout, and of how cells are read: a file of another one is built anew."""

CHUNK = 64
"""Rows a record batch. All but the last are full, so a row's place follows from its number."""


class Column(NamedTuple):
    """An array a row."""

    dtype: np.dtype[Any]
    """As it is handed out."""
    stored: np.dtype[Any]
    """As it lies in the file."""
    shape: tuple[int, ...]

    @classmethod
    def of(cls, example: NDArray[Any]) -> Self:
        """The column for arrays like this one."""
        # Classes fill 1 of the 8 bytes of an int64: kept whole, a label map would outweigh its image.
        wide = example.dtype.kind == "i" and example.dtype.itemsize > 2
        return cls(example.dtype, np.dtype(np.int16) if wide else example.dtype, example.shape)

    @property
    def width(self) -> int:
        """Bytes a row."""
        return math.prod(self.shape) * self.stored.itemsize

    def pack(self, values: list[NDArray[Any]]) -> pa.Array:
        """Arrays as cells of the file. Raises `Refusal` where a value does not fit."""
        packed = np.stack(values).astype(self.stored, order="C")
        if self.stored != self.dtype and not np.array_equal(packed, values):
            raise Refusal(f"A truth holds numbers beyond {np.iinfo(self.stored).max}: count from 0.")
        buffers = [None, pa.py_buffer(packed)]
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(self.width), len(values), buffers)

    def view(self, cells: pa.Array) -> NDArray[Any]:
        """[n, *shape] over the cells of a record batch, without a copy."""
        flat = np.frombuffer(cells.buffers()[1], self.stored, len(cells) * math.prod(self.shape))
        return flat.reshape(-1, *self.shape)

    def dump(self) -> dict[str, JSON]:
        """As JSON, for the file's header."""
        return {"dtype": self.dtype.str, "stored": self.stored.str, "shape": list(self.shape)}

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Self:
        """From the file's header."""
        return cls(np.dtype(said["dtype"]), np.dtype(said["stored"]), tuple(said["shape"]))


def write(
    path: Path,
    columns: Mapping[str, Column],
    samples: Iterator[Sample],
    unknown: Mapping[str, NDArray[Any]],
) -> None:
    """Write all samples, and only then give the file its name: under that name it is always whole.

    `unknown` is each task's truth of an image that has none.
    """
    header = {"columns": {name: column.dump() for name, column in columns.items()}}
    schema = pa.schema(
        [
            pa.field("key", pa.string()),
            *[pa.field(name, pa.binary(column.width)) for name, column in columns.items()],
            *[pa.field(f"has_{task}", pa.bool_()) for task in unknown],
        ],
        {"jointdistill": json.dumps(header)},
    )
    part = path.with_suffix(".part")
    try:
        with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
            while chunk := list(islice(samples, CHUNK)):
                file.write_batch(pa.record_batch(_arrays(chunk, columns, unknown), schema))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read(path: Path) -> tuple[pa.Table, dict[str, Column]]:
    """The mapped table and its columns. Raises `Refusal` where the file is no cache."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        header = json.loads(table.schema.metadata[b"jointdistill"])
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise Refusal(f"{path} is no training cache ({error}): delete it, and it is built anew.") from error
    return table, {name: Column.parse(said) for name, said in header["columns"].items()}


def _arrays(
    chunk: list[Sample], columns: Mapping[str, Column], unknown: Mapping[str, NDArray[Any]]
) -> dict[str, pa.Array]:
    """The cells of some samples."""
    arrays = {
        "key": pa.array([sample.key for sample in chunk]),
        "image": columns["image"].pack([sample.image for sample in chunk]),
    }
    for task, nothing in unknown.items():
        arrays[task] = columns[task].pack([sample.truth.get(task, nothing) for sample in chunk])
        arrays[f"has_{task}"] = pa.array([task in sample.truth for sample in chunk])
    return arrays
