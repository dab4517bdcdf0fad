"""Which images are held out, and in which order labels are revealed: by hashes of the images' keys.

Both depend on the set of keys and on nothing else: not on the order of rows, on shards or on a seed. So
every job that reads a data set, in whatever way, agrees on what is held out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def feedback_slice(keys: Sequence[str], share: float) -> NDArray[np.bool_]:
    """[N] whether an image belongs to the feedback slice: the `share` of all keys with the least hashes.

    The slice has round(share · N) images, but at least one where the share is above 0. Where images are
    added to a data set later, most of the old slice stays in it.
    """
    size = max(1, round(share * len(keys))) if share > 0 else 0
    inside = np.zeros(len(keys), np.bool_)
    inside[np.argsort(_hashes(keys, "feedback"), kind="stable")[:size]] = True
    return inside


def label_order(keys: Sequence[str], task: str) -> NDArray[np.int64]:
    """[N] a permutation of the rows: the order in which a task's labels are revealed.

    A budget of 5 % is its first 5 %, so that a smaller budget lies inside a larger one. Each task has its
    own order: a few labels of each task seldom meet on one image.
    """
    return np.argsort(_hashes(keys, f"labels of {task}"), kind="stable")


def _hashes(keys: Sequence[str], purpose: str) -> NDArray[np.uint64]:
    """[N] 64 bits of sha256 a key; the purpose keeps one use from saying anything about another."""
    digests = (hashlib.sha256(f"{purpose}\n{key}".encode()).digest()[:8] for key in keys)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
