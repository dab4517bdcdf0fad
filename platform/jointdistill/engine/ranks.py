"""The ranks of a run, and the few things they say to each other. Alone, every collective is a no-op."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from jointdistill.data.loader import Share
from jointdistill.engine.state import pack, unpack
from jointdistill.types import State


@dataclass(frozen=True)
class Ranks:
    """This rank among its peers."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls, device: torch.device) -> Ranks:
        """The process group that is up, or a rank alone."""
        if dist.is_available() and dist.is_initialized():
            return cls(device, dist.get_rank(), dist.get_world_size())
        return cls(device)

    @property
    def share(self) -> Share:
        """The part of every global batch that is this rank's."""
        return Share(self.rank, self.world)

    @property
    def first(self) -> bool:
        """Whether this rank speaks for all."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all ranks, the same bits on each."""
        if self.world > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def told_by_first(self, ask: Callable[[], State]) -> State:
        """What the first rank finds, on every rank. Each looking for itself might find another state of a
        store that somebody writes to, and then wait for the others in another place."""
        return self.gather(ask() if self.first else ({}, {}))[0]

    def gather(self, state: State) -> list[State]:
        """Every rank's state, in rank order, on every rank; as bytes, so that nothing is pickled."""
        if self.world == 1:
            return [state]
        content = torch.frombuffer(bytearray(pack(state)), dtype=torch.uint8).to(self.device)
        sizes = self.sum(
            torch.nn.functional.one_hot(torch.tensor(self.rank), self.world).to(self.device) * len(content)
        )
        longest = int(sizes.max())
        padded = torch.nn.functional.pad(content, (0, longest - len(content)))
        everybody = [torch.empty_like(padded) for _ in range(self.world)]
        dist.all_gather(everybody, padded)
        return [
            unpack(bytes(one[: int(size)].cpu().numpy())) for one, size in zip(everybody, sizes, strict=True)
        ]
