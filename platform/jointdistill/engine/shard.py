"""What one rank writes of a snapshot, as files, and the whole again, for any number of ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from jointdistill.engine.state import pack, unpack
from jointdistill.types import JSON, State

FILE_BYTES = 64 << 20
"""Tensors go together up to this size: few requests, each of them short enough to be repeated."""


@dataclass(frozen=True)
class Chunk:
    """Where a rank's piece lies in a tensor."""

    offset: tuple[int, ...]
    shape: tuple[int, ...]
    """Of the whole tensor."""


@dataclass
class Shard:
    """A rank's share of all parts' states."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    """`PART:NAME` → what this rank has of it."""
    chunks: dict[str, Chunk] = field(default_factory=dict)
    """Of those that others have pieces of too."""
    plain: dict[str, JSON] = field(default_factory=dict)
    """Part → its plain values; on the first rank."""

    def add(self, part: str, state: State, first: bool) -> None:
        """Take in a part. What all ranks have alike is the `first` one's to write."""
        tensors, plain = state
        for name, value in tensors.items():
            if isinstance(value, DTensor):
                self._add_piece(f"{part}:{name}", value)
            elif first:
                self.tensors[f"{part}:{name}"] = value.detach()
        if first:
            self.plain[part] = plain

    def _add_piece(self, name: str, value: DTensor) -> None:
        mesh, placements = value.device_mesh, value.placements
        places = zip(placements, mesh.get_coordinate() or (), strict=True)
        replica = any(placed.is_replicate() and at for placed, at in places)
        local = value.to_local().detach()
        if replica or not local.numel():
            return  # the first replica writes it; an uneven division leaves a rank without
        _, offset = compute_local_shape_and_global_offset(value.shape, mesh, placements)
        self.tensors[name] = local
        self.chunks[name] = Chunk(tuple(offset), tuple(value.shape))

    def files(self) -> Iterator[bytes]:
        """As safetensors files; the first carries the plain values."""
        plain: dict[str, JSON] = self.plain
        for names in _grouped(self.tensors) or [[]]:
            chunks: dict[str, JSON] = {
                name: [list(self.chunks[name].offset), list(self.chunks[name].shape)]
                for name in names
                if name in self.chunks
            }
            yield pack(({name: self.tensors[name] for name in names}, {"plain": plain, "chunks": chunks}))
            plain = {}


def together(files: Iterable[bytes]) -> dict[str, State]:
    """Part → its whole state, from all files of all ranks. Raises `ValueError` where pieces are missing."""
    parts: dict[str, State] = {}
    pieces: dict[str, list[tuple[list[int], list[int], Tensor]]] = {}
    for content in files:
        tensors, said = unpack(content)
        for part, plain in cast("dict[str, dict[str, JSON]]", said["plain"]).items():
            parts.setdefault(part, ({}, {}))[1].update(plain)
        chunks = cast("dict[str, list[list[int]]]", said["chunks"])
        for name, value in tensors.items():
            if name in chunks:
                pieces.setdefault(name, []).append((*chunks[name], value))  # type: ignore[arg-type]
            else:
                _put(parts, name, value)
    for name, found in pieces.items():
        _put(parts, name, _joined(name, found))
    return parts


def laid_as(whole: Tensor, like: Tensor) -> Tensor:
    """This rank's piece of a whole tensor, laid out like another one; no rank is asked for anything."""
    if not isinstance(like, DTensor):
        # In memory too: a fused step takes a parameter and its moments in one layout only.
        return torch.empty_like(like).copy_(whole.view_as(like))
    mesh, placements = like.device_mesh, like.placements
    shape, offset = compute_local_shape_and_global_offset(like.shape, mesh, placements)
    place = tuple(slice(at, at + size) for at, size in zip(offset, shape, strict=True))
    local = whole[place].contiguous().to(like.device)
    return DTensor.from_local(
        local, mesh, placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def _put(parts: dict[str, State], name: str, value: Tensor) -> None:
    part, _, inner = name.partition(":")
    parts.setdefault(part, ({}, {}))[0][inner] = value


def _joined(name: str, pieces: list[tuple[list[int], list[int], Tensor]]) -> Tensor:
    shape = pieces[0][1]
    whole = torch.empty(shape, dtype=pieces[0][2].dtype)
    filled = 0
    for offset, _, piece in pieces:
        place = tuple(slice(at, at + size) for at, size in zip(offset, piece.shape, strict=True))
        whole[place] = piece
        filled += piece.numel()
    if filled != whole.numel():
        raise ValueError(f"a piece of '{name}' is missing")
    return whole


def _grouped(tensors: Mapping[str, Tensor]) -> list[list[str]]:
    groups: list[list[str]] = []
    size = FILE_BYTES
    for name, value in tensors.items():
        if size + value.nbytes > FILE_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += value.nbytes
    return groups
