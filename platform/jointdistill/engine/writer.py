"""Writes snapshots in a thread of its own, so that training waits for a copy in memory and nothing else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from jointdistill.engine.claims import Claim, Claims, Superseded
from jointdistill.engine.retention import tidy
from jointdistill.engine.shard import Shard
from jointdistill.engine.snapshot import Manifest, Snapshots
from jointdistill.types import JSON, Refusal, StepReport

PATIENCE_S = 120.0
"""How long the first rank waits for the files of the others."""


@dataclass
class Writer:
    """Publishes the snapshots of one rank, one at a time and in order."""

    snapshots: Snapshots
    rank: int
    about: Mapping[str, JSON]
    """Goes into every manifest."""
    claim: Claim | None = None
    """The right to publish; known once the run is resumed."""
    blocked_s: float = 0.0
    """How long training has waited for snapshots."""
    published: int = -1
    """The last step whose snapshot is durable, as far as this rank knows."""
    _said: list[str] = field(default_factory=list)
    _staging: dict[str, Tensor] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "snapshot"))
    _writing: Future[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a snapshot is still on its way."""
        return self._writing is not None and not self._writing.done()

    @contextmanager
    def blocking(self) -> Iterator[None]:
        """The time of the block is time that training waited."""
        began = time.perf_counter()
        yield
        self.blocked_s += time.perf_counter() - began

    def submit(
        self, shard: Shard, manifest: Manifest, reports: Sequence[StepReport], sharers: Sequence[int]
    ) -> None:
        """Publish a snapshot once it is copied. `sharers`: the ranks that have a share in it, with the first.

        Raises `Superseded` where an earlier one found that the run is somebody else's.
        """
        self.wait()
        if self.rank not in sharers:
            return
        copied = replace(shard, tensors=self._copied(shard.tensors))
        told = list(reports)
        self._writing = self._pool.submit(self._publish, copied, manifest, told, sharers)

    def wait(self) -> None:
        """Until nothing is on its way. Raises what ended the writing, but for a store that is away: that is
        told, and the next snapshot will do."""
        writing, self._writing = self._writing, None
        if writing is None:
            return
        try:
            writing.result()
        except Superseded:
            raise
        except Refusal as away:
            self._said.append(f"A snapshot was not kept: {away}")

    def told(self) -> list[str]:
        """What whoever watches should know, since the last call."""
        if not self.busy:
            self.wait()
        said, self._said = self._said, []
        return said

    def _publish(
        self, shard: Shard, manifest: Manifest, reports: Sequence[StepReport], sharers: Sequence[int]
    ) -> None:
        assert self.claim is not None
        snapshots, name = self.snapshots, manifest.name
        parts = snapshots.put_shard(name, self.rank, shard)
        if self.rank != sharers[0]:
            snapshots.tell_parts(name, self.rank, parts)
            return
        for other in sharers[1:]:
            parts += snapshots.wait_for_parts(name, other, PATIENCE_S)
        snapshots.put_reports(name, reports)
        Claims(snapshots.store, snapshots.run).refuse_superseded(self.claim)
        snapshots.put_manifest(replace(manifest, parts=tuple(parts)))
        self.published = manifest.step
        try:
            tidy(snapshots, self.claim.number)
        except Refusal as away:
            self._said.append(f"Old snapshots were not deleted: {away}")

    def _copied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copies on the host, in memory that is used again: fresh pages would cost more than the copy."""
        for name, value in tensors.items():
            mine = self._staging.get(name)
            if mine is None or (mine.shape, mine.dtype) != (value.shape, value.dtype):
                pinned = value.is_cuda
                self._staging[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=pinned)
            self._staging[name].copy_(value, non_blocking=True)
        if any(value.is_cuda for value in tensors.values()):
            torch.cuda.synchronize()
        return {name: self._staging[name] for name in tensors}
