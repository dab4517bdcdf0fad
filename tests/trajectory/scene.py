"""A small world whose canonical cells are flat, so that any view of it can be written down exactly."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from jointdistill.tasks.base import Task
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.geometry import resample
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.trajectory.base import Setting
from jointdistill.trajectory.judge import Judge
from jointdistill.trajectory.record import Anchor
from jointdistill.trajectory.sight import replay
from jointdistill.trajectory.teacher_way import TeacherWay
from jointdistill.types import Batch, Position, Prediction, State
from jointdistill.warp import Warp

GRID = (8, 16)
CELL = 4
SIZE = (GRID[0] * CELL, GRID[1] * CELL)
IMAGES = 6
EVERYONE = range(IMAGES)
TASKS: dict[str, Task] = {
    "depth": Depth(),
    "segmentation": Segmentation(classes=("road", "car", "sky", "tree", "wall")),
}
PLAIN = torch.eye(3)
FLIPPED = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
ZOOMED = torch.tensor([[2.0, 0.0, -0.5], [0.0, 2.0, -0.25], [0.0, 0.0, 1.0]])
"""Twice as large: the window starts at a quarter of the width and an eighth of the height."""


def setting(labelled: range = EVERYONE, **changes: object) -> Setting:
    plain = Setting(
        tasks=TASKS,
        layers=("decoder", "encoder"),
        images=IMAGES,
        labelled=dict.fromkeys(TASKS, frozenset(labelled)),
        heard=frozenset(TASKS),
        teachers={},
        moments={},
        steps=10,
        seed=0,
        device=torch.device("cpu"),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def flat(values: Tensor) -> Tensor:
    """[…, rows, columns] a cell → […, H, W]."""
    return values.repeat_interleave(CELL, -2).repeat_interleave(CELL, -1)


def world(seed: int = 0) -> dict[str, Tensor]:
    """Canonical truths of all images."""
    generator = torch.Generator().manual_seed(seed)
    depth = 1 + 5 * torch.rand(IMAGES, 1, *GRID, generator=generator)
    labels = torch.randint(0, 5, (IMAGES, *GRID), generator=generator)
    return {"depth": flat(depth), "segmentation": flat(labels)}


def batch(rows: range = EVERYONE, matrix: Tensor = PLAIN, labelled: range = EVERYONE, step: int = 5) -> Batch:
    """A view of some images; the global batch holds all of them."""
    index = torch.tensor(list(rows))
    warp = Warp(matrix.repeat(len(rows), 1, 1))
    present = torch.tensor([row in labelled for row in rows])
    return Batch(
        keys=tuple(f"image {row}" for row in rows),
        index=index,
        slots=index,
        image=torch.zeros(len(rows), 3, *SIZE),
        truth={name: TASKS[name].warp(truth[index], warp, SIZE) for name, truth in world().items()},
        present=dict.fromkeys(TASKS, present),
        count=dict.fromkeys(TASKS, len(labelled)),
        total=IMAGES,
        labelled=int(present.sum()),
        position=Position(0, 0, step),
        warp=warp,
    )


def predict(of: Batch, wrong: float | Tensor, seed: int = 0) -> Prediction:
    """What a network says of the views that is `wrong` (a number, or one a cell).

    0 is the truth; at 1 depth is e times too large and the classes are all alike.
    """
    wrongness = torch.as_tensor(wrong, dtype=torch.float32)
    wrongness = flat(wrongness.expand(IMAGES, *GRID))[of.index][:, None]
    truth = world()
    depth = truth["depth"][of.index] * wrongness.exp()
    one_hot = torch.nn.functional.one_hot(truth["segmentation"][of.index], 5).permute(0, 3, 1, 2)
    logits = 6 * (1 - wrongness) * one_hot
    generator = torch.Generator().manual_seed(seed)
    features = flat(torch.randn(IMAGES, 4, *GRID, generator=generator))[of.index]
    zoom = of.warp.zoom.view(-1, 1, 1, 1)
    return Prediction(
        {
            "depth": (resample(depth, of.warp, SIZE, "nearest") / zoom).requires_grad_(),
            "segmentation": resample(logits, of.warp, SIZE, "nearest").requires_grad_(),
        },
        {"decoder": resample(features, of.warp, SIZE, "nearest").requires_grad_()},
    )


def alone(state: State) -> list[State]:
    """The gather of a single rank."""
    return [state]


def anchors(*wrong: float) -> tuple[Anchor, ...]:
    """A teacher's way through these wrongs, replayed on the plain images."""
    layout = TeacherWay(points=12, grid=GRID).replayed(TASKS)
    judge = Judge(TASKS, setting().labelled, IMAGES)
    plain = batch()
    return tuple(
        Anchor(
            step=100 * place,
            loss=dict.fromkeys(TASKS, 0.1 + one),
            records=replay(predict(plain, one, seed=9), {}, plain, judge, layout),
        )
        for place, one in enumerate(wrong)
    )
