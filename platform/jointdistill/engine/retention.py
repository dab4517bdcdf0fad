"""Which snapshots of a run are kept, and what nobody will read any more."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

from jointdistill.engine.snapshot import Manifest, Snapshots

LAST = 2
"""The newest ones: should one turn out damaged, there is another."""


def kept(manifests: Sequence[Manifest], pinned: Collection[str]) -> set[str]:
    """Names of the snapshots to keep, of all that count.

    1. What somebody pinned.
    2. The newest `LAST`.
    3. For each task the one with the lowest loss on the feedback slice.
    4. A history that thins out: of each doubling of the step the first one.
    """
    by_step = sorted(manifests, key=lambda one: one.name)
    names = {one.name for one in by_step if one.name in pinned}
    names |= {one.name for one in by_step[-LAST:]}
    for task in {task for one in by_step for task in one.losses}:
        judged = [one for one in by_step if task in one.losses]
        names.add(min(judged, key=lambda one: one.losses[task]).name)
    octaves: set[int] = set()
    for one in by_step:
        if one.step.bit_length() not in octaves:
            octaves.add(one.step.bit_length())
            names.add(one.name)
    return names


def tidy(snapshots: Snapshots, claim: int) -> None:
    """Delete what need not be kept, and what writers left behind that died before this claim.

    Called once the newest manifest is durable.
    """
    manifests = snapshots.manifests()
    keep = kept(manifests, snapshots.pinned())
    counting = {one.name for one in manifests}
    for name, whole in snapshots.names().items():
        left_behind = False
        with suppress(ValueError, IndexError):  # somebody else's file
            left_behind = not whole and int(name.split("-")[1]) < claim
        if left_behind or (name in counting and name not in keep):
            snapshots.delete(name)
