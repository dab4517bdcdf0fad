"""A run's whole resumable state, as files under `runs/RUN/snapshots/STEP-CLAIM/` on a store.

Every rank puts its files, then the first rank the manifest, which names them by digest: a snapshot without
a manifest does not exist. Frozen teachers are not in it; the run's identity names them. The claim in the
name keeps apart what two writers would call the same step.

There is no index that could be cut off or go stale: whoever reads lists the manifests.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

from jointdistill.engine.claims import Claims, counts
from jointdistill.engine.shard import Shard, together
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.sealed import seal, sha256, unseal
from jointdistill.types import JSON, Refusal, State, StepReport

FORMAT = 2
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Part:
    """One file of a snapshot."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a snapshot says of itself."""

    step: int
    claim: int
    about: Mapping[str, JSON]
    """The run it is of: identity, data, teachers, package, MLflow run; and where it stands."""
    losses: Mapping[str, float]
    """Task → the student's last loss on the feedback slice."""
    parts: tuple[Part, ...] = ()

    @property
    def name(self) -> str:
        """Its folder; in the order of steps, and of claims where steps are equal."""
        return name_of(self.step, self.claim)

    def seal(self) -> bytes:
        """As bytes."""
        parts: list[JSON] = [vars(part) for part in self.parts]
        return seal(
            {
                "format": FORMAT,
                "step": self.step,
                "claim": self.claim,
                "about": dict(self.about),
                "losses": dict(self.losses),
                "parts": parts,
            }
        )

    @classmethod
    def unseal(cls, content: bytes) -> Manifest:
        """Raises `ValueError` where it is damaged, or of another version."""
        said: dict[str, Any] = unseal(content)
        if said.get("format") != FORMAT:
            raise ValueError(f"its format is {said.get('format')}, and this version reads {FORMAT}")
        parts = tuple(Part(**part) for part in said["parts"])
        return cls(said["step"], said["claim"], said["about"], said["losses"], parts)


@dataclass(frozen=True)
class Snapshot:
    """Everything a run needs to go on."""

    manifest: Manifest
    parts: Mapping[str, State]

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self.manifest.step


@dataclass
class Snapshots:
    """The snapshots of one run."""

    store: Store
    run: str
    identity: str = ""
    """Of the run; a snapshot of another one is passed over."""
    skipped: list[str] = field(default_factory=list)
    """What `latest` passed over, and why."""
    _known: dict[str, Manifest] = field(default_factory=dict)

    # -- reading -----------------------------------------------------------------------------------------

    def manifests(self) -> list[Manifest]:
        """Of all snapshots that count, the newest first."""
        claims = Claims(self.store, self.run).all()
        found = []
        for name in sorted((name for name, whole in self.names().items() if whole), reverse=True):
            with self._passing_over(f"{self._root}/{name}"):
                manifest = self.manifest(name)
                if counts(claims, manifest.claim, manifest.step):
                    found.append(manifest)
        return found

    def manifest(self, name: str) -> Manifest:
        """What the snapshot of this name says of itself. Raises `Missing`, or `ValueError` where it is not
        what it should be."""
        manifest = self._known.get(name) or Manifest.unseal(self.store.get(f"{self._root}/{name}/{MANIFEST}"))
        self._known[name] = manifest
        if self.identity and manifest.about["identity"] != self.identity:
            raise ValueError("it is of another experiment, data set or teacher")
        return manifest

    def read(self, manifest: Manifest) -> Snapshot:
        """The snapshot. Raises `Missing` or `ValueError` where a file is not what was written."""
        return Snapshot(manifest, together(self._contents(manifest)))

    def latest(self) -> Snapshot | None:
        """The newest snapshot whose digests hold; none where the run has none."""
        for manifest in self.manifests():
            with self._passing_over(f"{self._root}/{manifest.name}"):
                return self.read(manifest)
        return None

    def reports(self, until: int) -> list[StepReport]:
        """Every report up to a step, in order, each as it was first made."""
        claims = Claims(self.store, self.run).all()
        told = []
        for key in self.store.list(f"runs/{self.run}/reports"):
            step, claim = (int(number) for number in key.rsplit("/", 1)[-1].split(".")[0].split("-"))
            if step <= until and counts(claims, claim, step):
                with self._passing_over(key):
                    rows = cast("list[Any]", unseal(self.store.get(key))["reports"])
                    told += [StepReport(*row) for row in rows]
        return told

    def _contents(self, manifest: Manifest) -> Iterator[bytes]:
        for part in manifest.parts:
            content = self.store.get(f"{self._root}/{manifest.name}/{part.file}")
            if len(content) != part.bytes:
                raise ValueError(f"{part.file} has {len(content)} bytes and should have {part.bytes}")
            if sha256(content) != part.sha256:
                raise ValueError(f"{part.file} is not what was written (its digest differs)")
            yield content

    @contextmanager
    def _passing_over(self, what: str) -> Iterator[None]:
        """Notes, instead of raising, that something on the store is not what it should be."""
        try:
            yield
        except (Missing, ValueError, KeyError, TypeError) as wrong:
            said = f"{wrong} is missing" if isinstance(wrong, Missing) else str(wrong)
            if f"{what}: {said}" not in self.skipped:
                self.skipped.append(f"{what}: {said}")

    # -- writing -----------------------------------------------------------------------------------------

    def put_shard(self, name: str, rank: int, shard: Shard) -> list[Part]:
        """Put a rank's files."""
        parts = []
        for number, content in enumerate(shard.files()):
            digest = sha256(content)
            part = Part(f"{rank:05d}-{number:03d}-{digest[:8]}.safetensors", digest, len(content))
            with suppress(AlreadyThere):
                self.store.put(f"{self._root}/{name}/{part.file}", content)
            parts.append(part)
        return parts

    def tell_parts(self, name: str, rank: int, parts: Sequence[Part]) -> None:
        """Let the first rank know that this rank's files are there."""
        listed: list[JSON] = [vars(part) for part in parts]
        with suppress(AlreadyThere):
            self.store.put(f"{self._root}/{name}/{rank:05d}.json", seal({"parts": listed}))

    def wait_for_parts(self, name: str, rank: int, patience_s: float) -> list[Part]:
        """What another rank put. Raises `Refusal` where it does not within some time."""
        until = time.monotonic() + patience_s
        while True:
            with suppress(Missing):
                said: dict[str, Any] = unseal(self.store.get(f"{self._root}/{name}/{rank:05d}.json"))
                return [Part(**part) for part in said["parts"]]
            if time.monotonic() > until:
                raise Refusal(
                    f"Rank {rank} did not write its share of snapshot {name} within {patience_s:.0f} s."
                )
            time.sleep(0.05)

    def put_reports(self, name: str, reports: Sequence[StepReport]) -> None:
        """Keep the reports since the last snapshot: what was told to a driver that died is told again."""
        rows: list[JSON] = [[one.step, one.epoch, _finite(one.metrics), one.time_ms] for one in reports]
        if rows:
            with suppress(AlreadyThere):
                self.store.put(f"runs/{self.run}/reports/{name}.json", seal({"reports": rows}))

    def put_manifest(self, manifest: Manifest) -> None:
        """Last of all: from now on the snapshot exists."""
        with suppress(AlreadyThere):
            self.store.put(f"{self._root}/{manifest.name}/{MANIFEST}", manifest.seal())

    def pin(self, manifest: Manifest, who: str) -> None:
        """Keep a snapshot from being deleted, for somebody who goes on from it."""
        with suppress(AlreadyThere):
            self.store.put(f"runs/{self.run}/pins/{manifest.name}/{who}", b"")

    def unpin(self, manifest: Manifest, who: str) -> None:
        """Somebody does not need it any more."""
        self.store.delete(f"runs/{self.run}/pins/{manifest.name}/{who}")

    def pinned(self) -> set[str]:
        """Names of the snapshots that somebody needs."""
        return {key.split("/")[-2] for key in self.store.list(f"runs/{self.run}/pins")}

    def delete(self, name: str) -> None:
        """Delete a snapshot, or what is left of one: the manifest first, so that none is ever half there."""
        keys = [*self.store.list(f"{self._root}/{name}")]
        for key in sorted(keys, key=lambda key: not key.endswith(MANIFEST)):
            self.store.delete(key)

    def names(self) -> dict[str, bool]:
        """Name → whether it has a manifest, of all folders, whole or not."""
        whole: dict[str, bool] = {}
        for key in self.store.list(self._root):
            name, file = key.split("/")[-2:]
            whole[name] = whole.get(name, False) or file == MANIFEST
        return whole

    @property
    def _root(self) -> str:
        return f"runs/{self.run}/snapshots"


def _finite(metrics: Mapping[str, float]) -> dict[str, JSON]:
    """JSON knows no other numbers."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def name_of(step: int, claim: int) -> str:
    """The folder of a snapshot."""
    return f"{step:09d}-{claim:06d}"
