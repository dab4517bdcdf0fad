"""Brings a run's trajectories to life: what they must know of it, and the replay of the teachers' ways."""

from __future__ import annotations

from jointdistill.data.cache import Cache
from jointdistill.data.loader import Slices
from jointdistill.engine.parts import Parts
from jointdistill.store.base import Store
from jointdistill.trajectory.base import Setting, Trajectory

SIZE = 32
"""Images a forward pass of a replay."""


def remember(parts: Parts, train: Cache, slices: Slices, data: str, store: Store) -> tuple[Trajectory, ...]:
    """The experiment's trajectories; empty, and free, where it has none. Every rank must call it."""
    recipes = parts.experiment.trajectory
    if not recipes:
        return ()
    setting = Setting(
        tasks=parts.tasks,
        layers=tuple(parts.network.channels),
        images=len(train),
        labelled={task: frozenset(rows.tolist()) for task, rows in slices.labelled.items()},
        teachers={name: teacher.card.tasks for name, teacher in parts.teachers.items()},
        steps=parts.experiment.optimise.steps,
        seed=parts.experiment.seed,
        device=parts.ranks.device,
    )
    return tuple(recipe.build(setting) for recipe in recipes)
