"""Keeps a run: claims it, goes on from what was kept, and hands snapshots over to be written."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn, cast

import torch

from jointdistill.data.loader import Loader
from jointdistill.engine.anchors import Anchors
from jointdistill.engine.claims import Claim, Claims, Owner, Superseded
from jointdistill.engine.lineage import package_digest
from jointdistill.engine.parts import Parts
from jointdistill.engine.resume import restore, take
from jointdistill.engine.snapshot import Manifest, Snapshot
from jointdistill.engine.window import STEPS, Window
from jointdistill.engine.writer import Writer
from jointdistill.store.base import AlreadyThere, Missing
from jointdistill.types import JSON, Refusal, StepReport, Stopped

WARNED_EVERY_S = 5.0
"""How often the ranks ask together whether a machine is about to be taken from them."""


@dataclass(frozen=True)
class Ears:
    """How a worker hears of the world, and is heard, while it trains."""

    asked_to_stop: Callable[[], bool] = lambda: False
    """Whether somebody asked the run to stop. Called on every rank alone, often, and must not block."""
    to_be_preempted: Callable[[], bool] = lambda: False
    """Whether a machine will be taken away. Called on all ranks together, every few seconds."""
    alive: Callable[[int], object] = lambda step: None
    """Hears of every step that is done."""
    busy: Callable[[], object] = lambda: None
    """Hears between steps that the student is being examined."""


DEAF = Ears()


@dataclass(frozen=True)
class Outside:
    """What a worker needs of the world; the launch provides it."""

    report: Callable[[StepReport], None]
    """Take an interval's plain numbers. Called on the first rank only, and must not block."""
    note: Callable[[str], None]
    """Take a sentence for whoever watches; like `report`."""
    writer: Writer
    anchors: Anchors
    owner: Owner
    """The driver that has claimed the run."""
    ears: Ears = DEAF
    until: int = 0
    """The step after which to stop, though it is not the last; 0: none. The student is evaluated there."""


class Keeper:
    """What one rank does so that nothing of a run is lost."""

    def __init__(self, parts: Parts, loader: Loader, window: Window, outside: Outside) -> None:
        self.parts, self.loader, self.window, self.outside = parts, loader, window, outside
        self.losses: dict[str, float] = {}
        """Task → the student's last loss on the feedback slice."""
        self._unkept: list[StepReport] = []
        self._asked, self._warned = time.perf_counter(), False

    def reported(self, report: StepReport) -> None:
        """A report that the next snapshot carries, should whoever heard of it die."""
        self._unkept.append(report)

    def resume(self) -> bool:
        """Claim the run, and go on from its newest snapshot if there is one.

        Raises `Superseded` where the run has another owner by now.
        """
        ranks = self.parts.ranks
        claim, found = self._claimed() if ranks.first else (None, None)
        name = found.manifest.name if found else None
        _, said = ranks.told_by_first(lambda: ({}, {"claim": claim.number if claim else 0, "from": name}))
        self.outside.writer.claim = claim or Claim(cast(int, said["claim"]), self.outside.owner)
        if said["from"] is None:
            return False
        snapshot = found or self._read(cast(str, said["from"]))
        if ranks.first and snapshot.manifest.about.get("package") != package_digest():
            self.outside.note(
                "The code changed since the snapshot was written; it goes on with the new code."
            )
        restore(self.parts, snapshot)
        self.window.load(snapshot.parts["window"])
        self.losses = dict(snapshot.manifest.losses)
        return True

    def _claimed(self) -> tuple[Claim, Snapshot | None]:
        """The claim of this group of workers, and what it goes on from."""
        snapshots, owner = self.outside.writer.snapshots, self.outside.owner
        claims = Claims(snapshots.store, snapshots.run)
        while True:
            newest = claims.newest()
            if newest and newest.owner != owner:
                raise Superseded(f"The run '{snapshots.run}' is being trained by {newest.owner} now.")
            with suppress(AlreadyThere):  # other workers of this owner were faster: look again
                # The first claim keeps older workers from publishing while the newest snapshot is read, which
                # may take minutes; the second one says which that was.
                fence = claims.make(owner, newest)
                found = snapshots.latest()
                return claims.make(owner, fence, found.step if found else 0), found

    def _read(self, name: str) -> Snapshot:
        """What the first rank found, and whose digests held there."""
        snapshots = self.outside.writer.snapshots
        try:
            return snapshots.read(snapshots.manifest(name))
        except (Missing, ValueError) as wrong:
            raise Refusal(
                f"Rank {self.parts.ranks.rank} cannot read the snapshot {name} ({wrong}): the same command "
                "goes on from one that all ranks can read."
            ) from wrong

    def snapshot(self, wait: bool) -> None:
        """Hand a snapshot over to be written. Where the last one is still on its way, this one is left out,
        unless it must not be."""
        writer, ranks = self.outside.writer, self.parts.ranks
        with writer.blocking():
            if wait:
                writer.wait()
            if self._anywhere(writer.busy):
                self._say(
                    f"The snapshot of step {self.parts.step} is left out: the storage has not taken the last "
                    "one yet."
                )
                return
            for source in self.parts.trajectory:
                source.pool(ranks.gather)
            shard = take(self.parts)
            shard.add("window", self.window.state(), ranks.first)
            self._tell()
            self._unkept = [report for report in self._unkept if report.step > writer.published]
            sharers = range(ranks.world) if self._anywhere(bool(shard.chunks)) else (0,)
            writer.submit(shard, self._manifest(), self._unkept, sharers)

    def _manifest(self) -> Manifest:
        writer, ranks, step = self.outside.writer, self.parts.ranks, self.parts.step
        assert writer.claim is not None
        position = dict(self.loader.position(step)._asdict())
        about: dict[str, JSON] = {**writer.about, "world": ranks.world, "position": position}
        return Manifest(step, writer.claim.number, about, self.losses)

    def heed(self, step: int) -> None:
        """Hear whether the run is asked to stop, or a machine is about to go: then what is known is kept.

        Ranks must stop after the same step, so they agree on it as often as they talk anyway.
        """
        ranks = self.parts.ranks
        if step == self.parts.experiment.optimise.steps:
            return
        if step == self.outside.until:
            self._stop(step)
        if ranks.world > 1 and step % STEPS:
            return
        if self._anywhere(self.outside.ears.asked_to_stop()):
            self._stop(step)
        due = ranks.first and time.perf_counter() - self._asked > WARNED_EVERY_S
        if not self._anywhere(due):
            return
        self._asked = time.perf_counter()
        warned = self.outside.ears.to_be_preempted()
        if warned and not self._warned:
            self._say(f"A machine will be taken away: keeping a snapshot of step {step}.")
            self.snapshot(wait=True)
        self._warned = warned

    def _stop(self, step: int) -> NoReturn:
        writer, ranks = self.outside.writer, self.parts.ranks
        writer.wait()
        if self._anywhere(ranks.first and writer.published != step):  # else one was due here anyway
            self.snapshot(wait=True)
            writer.wait()
        self._tell()
        kept = writer.published == step
        raise Stopped(f"after step {step}, {'with a' if kept else 'without a new'} snapshot")

    def _anywhere(self, here: bool) -> bool:
        """Whether it is so on any rank; every rank must ask."""
        if self.parts.ranks.world == 1:
            return here
        return bool(self.parts.ranks.sum(torch.tensor(float(here), device=self.parts.ranks.device)))

    def _tell(self) -> None:
        for sentence in self.outside.writer.told():
            self.outside.note(sentence)

    def _say(self, sentence: str) -> None:
        if self.parts.ranks.first:
            self.outside.note(sentence)
