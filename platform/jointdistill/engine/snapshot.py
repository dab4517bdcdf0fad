"""A run's whole resumable state, as parts under `runs/RUN/snapshots/STEP/` on a store.

Parts are written first and the manifest last, create-only: a snapshot without a manifest does not exist.
Frozen teachers are not in it; the run's identity names them by digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from jointdistill.engine.state import pack, unpack
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.types import State

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Snapshot:
    """Everything a run needs to go on."""

    step: int
    parts: Mapping[str, State]


@dataclass
class Snapshots:
    """The snapshots of one run."""

    store: Store
    run: str
    skipped: list[str] = field(default_factory=list)
    """What `latest` passed over, and why."""

    def write(self, snapshot: Snapshot) -> None:
        """Keep a snapshot. The same step again is the same snapshot, and is left alone."""
        digests = {}
        for part, state in snapshot.parts.items():
            content = pack(state)
            digests[part] = hashlib.sha256(content).hexdigest()
            with suppress(AlreadyThere):
                self.store.put(f"{self._folder(snapshot.step)}/{_file(part, digests[part])}", content)
        manifest = json.dumps({"step": snapshot.step, "parts": digests}, indent=2)
        with suppress(AlreadyThere):
            self.store.put(f"{self._folder(snapshot.step)}/{MANIFEST}", manifest.encode())

    def at(self, step: int) -> Snapshot:
        """The snapshot of a step. Raises `Missing` or `ValueError` where there is no whole one."""
        return self._read(f"{self._folder(step)}/{MANIFEST}")

    def latest(self) -> Snapshot | None:
        """The newest snapshot whose digests hold; none where the run has none."""
        manifests = [key for key in self.store.list(f"runs/{self.run}/snapshots") if key.endswith(MANIFEST)]
        for key in sorted(manifests, reverse=True):
            try:
                return self._read(key)
            except (Missing, ValueError, KeyError) as wrong:
                self.skipped.append(f"{key.removesuffix('/' + MANIFEST)}: {wrong}")
        return None

    def _read(self, key: str) -> Snapshot:
        manifest = json.loads(self.store.get(key))
        parts = {}
        for part, expected in manifest["parts"].items():
            content = self.store.get(f"{key.removesuffix(MANIFEST)}{_file(part, expected)}")
            if hashlib.sha256(content).hexdigest() != expected:
                raise ValueError(f"part '{part}' is not what was written (its digest differs)")
            parts[part] = unpack(content)
        return Snapshot(manifest["step"], parts)

    def _folder(self, step: int) -> str:
        return f"runs/{self.run}/snapshots/{step:09d}"


def _file(part: str, digest: str) -> str:
    """With its digest in the name, what a writer that died left behind is in nobody's way."""
    return f"{part}-{digest[:8]}.safetensors"
