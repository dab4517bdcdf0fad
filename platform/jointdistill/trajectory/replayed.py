"""Replayed records on a store: parts first, and last a manifest that vouches for them.

    trajectories/TEACHER/QUESTION/STEP/RANK-DIGEST.arrow    the rows one rank asked for
                                       manifest.json        what the anchor is, and every part's digest

Keys never change, so what does not hold is written again beside it: `STEP-2`, `STEP-3` …
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.sealed import seal, sha256, unseal
from jointdistill.trajectory.arrow import Rows, check, from_bytes, header, to_bytes
from jointdistill.trajectory.record import Layout, Records
from jointdistill.types import JSON, State

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Replayed:
    """The records of one anchor of a teacher."""

    store: Store
    folder: str
    """`trajectories/TEACHER/QUESTION`, shared by all anchors of the teacher."""
    step: int
    """The anchor's."""
    layout: Layout
    fingerprints: Mapping[str, str]
    """What the records hang on."""

    def look(self) -> State:
        """The rows of the newest attempt that holds, as the first rank tells them: `image` and the columns,
        and no tensor where no attempt holds. Beside them `passed`, what was passed over and why, and `next`,
        the name under which nobody has begun to write yet.
        """
        passed: list[JSON] = []
        tried = attempts(self.store, self.folder, self._name)
        found: dict[str, Tensor] = {}
        for attempt in tried:
            name = attempt_name(self._name, attempt)
            try:
                rows = self._read(name)
            except ValueError as wrong:
                passed.append(f"Passed over the records in {self.folder}/{name}: {wrong}.")
                continue
            found = {"image": rows.image, **rows.records.tensors}
            break
        return found, {"passed": passed, "next": attempt_name(self._name, max(tried, default=0) + 1)}

    def put(self, name: str, rank: int, rows: Rows) -> dict[str, JSON]:
        """Write a rank's rows; what the manifest says of them."""
        content = to_bytes(rows, self.fingerprints)
        found = sha256(content)
        file = f"{rank}-{found[:8]}.arrow"
        with suppress(AlreadyThere):
            self.store.put(f"{self.folder}/{name}/{file}", content)
        return {"file": file, "sha256": found, "bytes": len(content), "rows": len(rows.image)}

    def finish(self, name: str, losses: Mapping[str, float], parts: Sequence[dict[str, JSON]]) -> None:
        """Write the manifest, once all parts are there. A run that raced this one may have been first."""
        said: dict[str, JSON] = {
            "step": self.step,
            # JSON has no NaN.
            "losses": {task: loss if math.isfinite(loss) else None for task, loss in losses.items()},
            **header(self.layout, self.fingerprints),
            "rows": sum(cast("int", part["rows"]) for part in parts),
            "parts": list(parts),
        }
        with suppress(AlreadyThere):
            self.store.put(f"{self.folder}/{name}/{MANIFEST}", seal(said))

    @property
    def _name(self) -> str:
        return f"{self.step:09d}"

    def _get(self, name: str, file: str) -> bytes:
        try:
            return self.store.get(f"{self.folder}/{name}/{file}")
        except Missing as missing:
            raise ValueError(f"{file} is missing") from missing

    def _read(self, name: str) -> Rows:
        """Raises `ValueError` where the attempt is not whole, or not of this anchor. No part is parsed before
        all digests were found to hold."""
        manifest = read_manifest(self._get(name, MANIFEST))
        contents = []
        for part in manifest["parts"]:
            content = self._get(name, part["file"])
            if sha256(content) != part["sha256"]:
                raise ValueError(f"{part['file']} is not what was written (its digest differs)")
            contents.append(content)
        check(manifest, self.layout, self.fingerprints)
        read = [from_bytes(content, self.layout, self.fingerprints) for content in contents]
        tensors = {
            column: torch.cat([rows.records.tensors[column] for rows in read])
            for column in self.layout.columns
        }
        return Rows(torch.cat([rows.image for rows in read]), Records(self.layout, tensors))


def read_manifest(content: bytes) -> dict[str, Any]:
    """What a manifest says. Raises `ValueError` where that is not what was written."""
    try:
        return dict(unseal(content))
    except ValueError as wrong:
        raise ValueError(f"{MANIFEST}: {wrong}") from wrong


def attempts(store: Store, folder: str, name: str, ending: str = "") -> list[int]:
    """Which attempts at `name` lie in a folder, newest first."""
    pattern = re.compile(rf"{re.escape(name)}(?:-(\d+))?{re.escape(ending)}")
    there = {key.removeprefix(f"{folder}/").partition("/")[0] for key in store.list(folder)}
    matches = [match for match in map(pattern.fullmatch, there) if match]
    return sorted((int(match[1] or 1) for match in matches), reverse=True)


def attempt_name(name: str, attempt: int, ending: str = "") -> str:
    """`name`, and from the second attempt on its number."""
    return f"{name}{ending}" if attempt == 1 else f"{name}-{attempt}{ending}"
