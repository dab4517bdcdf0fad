"""The way a network took: its weights at some moments of its training, kept beside the finished ones.

`anchors/STEP.safetensors` holds the weights; `anchors/index.json`, written last, lists them and says how
good they were. A way is no part of a model's digest, so the index carries the digest of each of its files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from jointdistill.types import Refusal

INDEX = "anchors/index.json"


@dataclass(frozen=True)
class Moment:
    """One entry of the index."""

    step: int
    """Optimiser steps the network had behind it."""
    losses: Mapping[str, float]
    """Task → supervised loss on the feedback slice of the data it was trained on."""
    digest: str
    """sha256 of its weights file."""

    @classmethod
    def of(cls, step: int, losses: Mapping[str, float], content: bytes) -> Moment:
        """The entry for the content of a weights file."""
        return cls(step, dict(losses), hashlib.sha256(content).hexdigest())

    @property
    def file(self) -> str:
        """Where its weights lie, beside `model.json`."""
        return f"anchors/{self.step:09d}.safetensors"

    def check(self, content: bytes, name: str) -> bytes:
        """The content of its weights file, as it was written. Raises `Refusal`, naming the model `name`."""
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise Refusal(
                f"The anchor of '{name}' at step {self.step} is missing or not what was saved (its digest "
                "differs): fetch the model again or train it again."
            )
        return content


def write_index(way: Iterable[Moment]) -> bytes:
    """The index, earliest first."""
    return json.dumps([asdict(one) for one in sorted(way, key=lambda one: one.step)], indent=2).encode()


def read_index(content: bytes, name: str) -> tuple[Moment, ...]:
    """The moments of an index. Raises `Refusal`, naming the model `name`."""
    try:
        return tuple(Moment(**entry) for entry in json.loads(content))
    except (ValueError, TypeError) as wrong:
        raise Refusal(f"The anchors of '{name}' cannot be read: train it again.") from wrong
