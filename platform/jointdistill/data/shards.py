"""One shard of a data set: a Parquet file of encoded frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, final

import pyarrow as pa
import pyarrow.parquet as pq

from jointdistill.store.base import Missing, Store
from jointdistill.store.sealed import sha256
from jointdistill.types import Card, Refusal

_NAME = re.compile(r"(?P<split>[A-Za-z0-9_]+)-(?P<number>\d{5})\.parquet")
_ROWS_AT_ONCE = 64


class Row(NamedTuple):
    """A frame as it is stored."""

    key: str
    """Unique in the data set."""
    image: bytes
    """PNG or JPEG."""
    truths: Mapping[str, bytes | None]
    """Column → PNG or NPY; a column without a label is None, or left out."""
    meta: str = ""
    """JSON, for the writer's own use."""


def shard_name(split: str, number: int) -> str:
    """The file of a split's shard, counted from 0."""
    return f"{split}-{number:05d}.parquet"


def shards_of(files: Sequence[str], store: Store) -> dict[str, list[str]]:
    """Split → its shards in order, from the names of a data set's Parquet files.

    Raises `Refusal` where a name is none of a shard's, or a number is left out.
    """
    shards: dict[str, list[str]] = {}
    for file in sorted(files):
        name = _NAME.fullmatch(file)
        if name is None:
            raise Refusal(f"{file} in {store} is not named like a shard: call it SPLIT-00000.parquet.")
        shards.setdefault(name["split"], []).append(file)
    for split, found in shards.items():
        for number, file in enumerate(found):
            if file != shard_name(split, number):
                raise Refusal(f"{shard_name(split, number)} is missing from {store}: copy it there.")
    return shards


def encode_shard(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    """The Parquet file of some rows, with a column for each truth."""
    table = pa.table(
        {
            "key": pa.array([row.key for row in rows], pa.string()),
            "image": pa.array([row.image for row in rows], pa.binary()),
            **{name: pa.array([row.truths.get(name) for row in rows], pa.binary()) for name in columns},
            "meta": pa.array([row.meta or None for row in rows], pa.string()),
        }
    )
    sink = pa.BufferOutputStream()
    # Floats in NPY cells shrink; PNGs do not, but trying costs little. No cell repeats: no dictionary.
    pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_statistics=False)
    return bytes(sink.getvalue())


def fetch_shard(store: Store, card: Card, file: str) -> bytes:
    """The bytes of a shard, as the card's digest has them.

    Raises `Refusal` where they are missing or others.
    """
    try:
        stored = store.get(file)
    except Missing as error:
        raise Refusal(f"{file} is on the card but not in {store}: copy it there.") from error
    if file in card.shards and card.shards[file] != sha256(stored):
        raise Refusal(
            f"{file} in {store} has not the digest on its card: copy it again or, where you changed it on "
            "purpose, take 'shards' out of the card."
        )
    return stored


@final
class Shard:
    """An open shard. `file` names it in refusals."""

    def __init__(self, stored: bytes, file: str) -> None:
        self.file = file
        try:
            self._parquet = pq.ParquetFile(pa.BufferReader(stored))
        except (pa.ArrowException, OSError) as error:
            raise Refusal(f"{file} is no whole Parquet file: copy or write it again.") from error
        names = self._parquet.schema_arrow.names
        for name in names:
            if names.count(name) > 1:
                raise Refusal(f"{file} has {names.count(name)} columns '{name}': keep one of them.")

    def __len__(self) -> int:
        return int(self._parquet.metadata.num_rows)

    def require(self, column: str, purpose: str) -> None:
        """Raise `Refusal` where the column is missing."""
        if column not in self._parquet.schema_arrow.names:
            raise Refusal(f"{self.file} has no column '{column}' {purpose}.")

    @cached_property
    def keys(self) -> list[str]:
        """The rows' keys, none of them empty."""
        self.require("key", "to tell its rows apart: give each a unique text")
        keys = [key for batch in self._batches(["key"]) for key in self._cells(batch, "key", pa.string())]
        for place, key in enumerate(keys):
            if not key:
                raise Refusal(f"{self.file} has no key in row {place}: give each row a unique text.")
        return keys

    def rows(self, columns: Sequence[str]) -> Iterator[list[Row]]:
        """The rows with these truths, some at a time."""
        self.require("image", "to learn from: add PNG or JPEG bytes")
        for batch in self._batches(["key", "image", *columns]):
            keys = self._cells(batch, "key", pa.string())
            images = self._cells(batch, "image", pa.binary())
            truths = {name: self._cells(batch, name, pa.binary()) for name in columns}
            yield [
                Row(key, image or b"", {name: cells[place] for name, cells in truths.items()})
                for place, (key, image) in enumerate(zip(keys, images, strict=True))
            ]

    def _batches(self, columns: list[str]) -> Iterator[Any]:
        try:
            yield from self._parquet.iter_batches(_ROWS_AT_ONCE, columns=columns)
        except (pa.ArrowException, OSError) as error:
            raise Refusal(f"{self.file} is damaged: copy or write it again.") from error

    def _cells(self, batch: Any, column: str, kind: pa.DataType) -> list[Any]:
        # Writers differ: pandas has large_string, and a null type for a column without any value.
        try:
            cells: list[Any] = batch.column(column).cast(kind).to_pylist()
        except pa.ArrowException as error:
            stored = batch.column(column).type
            raise Refusal(f"{self.file} holds {stored} in column '{column}': it must be {kind}.") from error
        except UnicodeDecodeError as error:
            raise Refusal(
                f"{self.file} holds text in column '{column}' that is not UTF-8: correct it."
            ) from error
        return cells
