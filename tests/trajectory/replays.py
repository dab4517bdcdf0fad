"""Replayed records on a store, as some ranks would write them."""

from __future__ import annotations

import torch

from jointdistill.store.base import Store
from jointdistill.trajectory.arrow import Rows
from jointdistill.trajectory.record import Layout, Records
from jointdistill.trajectory.replayed import Replayed
from tests.trajectory.scene import TASKS

LAYOUT = Layout.of(TASKS, "decoder", (16, 32), 32)
FOLDER = "trajectories/wise/why"


def replayed(store: Store, step: int = 100, **hangs_on: str) -> Replayed:
    return Replayed(store, FOLDER, step, LAYOUT, {"data": "a1", "anchor": f"at {step}", **hangs_on})


def rows(images: int, seed: int = 0) -> Rows:
    """Any values that the columns can hold."""
    generator = torch.Generator().manual_seed(seed)
    table = Records.empty(LAYOUT, images)
    for name, values in table.tensors.items():
        top = 512 if name == "cell" else 2 if name == "known" else 100
        values.copy_(torch.randint(0, top, values.shape, generator=generator))
    return Rows(torch.randperm(images, generator=generator), table)


def write(kept: Replayed, said: Rows, world: int = 1) -> str:
    """What `world` ranks do that have asked the anchor; the name they wrote under."""
    name = str(kept.look()[1]["next"])
    parts = []
    for rank in range(world):
        mine = torch.arange(len(said.image))[rank::world]
        parts.append(kept.put(name, rank, Rows(said.image[mine], said.records[mine])))
    kept.finish(name, {"depth": 0.25, "segmentation": float("nan")}, parts)
    return name
