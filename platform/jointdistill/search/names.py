"""How the runs of a trial are called: TRIAL, and TRIAL.at-STEP where it went on as a clone of another one."""

from __future__ import annotations

CLONE = ".at-"
"""Marks the runs of clones."""


def clone(trial: str, step: int) -> str:
    """The run that a trial begins from another one's snapshot of a step."""
    return f"{trial}{CLONE}{step}"


def trial_of(run: str) -> str:
    """The trial whose run it is."""
    return run.partition(CLONE)[0]


def began_at(run: str) -> int:
    """The step of the snapshot that a run began from; 0 where it is no clone's."""
    return int(run.partition(CLONE)[2] or 0)
