"""Every task there is, with answers, truths, points and views for it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from jointdistill.recipe import recipes_in
from jointdistill.tasks.base import Task
from jointdistill.types import Card
from jointdistill.warp import Warp
from tests.tasks.normals import Normals

CARD = Card("shapes", classes=("sky", "road", "house", "tree", "car"))
KINDS = [*recipes_in("jointdistill.tasks", Task).values(), Normals]
IMAGES, HEIGHT, WIDTH, POINTS = 3, 12, 16, 20
MIRROR = [[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
ZOOM_2 = [[2.0, 0.0, -0.5], [0.0, 2.0, -0.5], [0.0, 0.0, 1.0]]
RIGHT_HALF = [[1.0, 0.0, -0.5], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]

each_task = pytest.mark.parametrize(
    "task", [kind().described_by(CARD) for kind in KINDS], ids=[kind.__name__ for kind in KINDS]
)


def raw_of(task: Task, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(IMAGES, task.channels, *size, generator=generator)


def answer_of(task: Task, seed: int) -> Tensor:
    return task.answer(raw_of(task, seed))


def truth_of(task: Task, seed: int, hidden: Tensor | None = None) -> Tensor:
    """A random truth, unknown where `hidden` [H, W]."""
    truth = task.as_truth(answer_of(task, seed))
    return truth if hidden is None else torch.where(hidden, nothing(task), truth)


def nothing(task: Task) -> Tensor:
    return torch.from_numpy(task.unknown(HEIGHT, WIDTH)).expand(IMAGES, *task.unknown(HEIGHT, WIDTH).shape)


def known(task: Task, truth: Tensor) -> Tensor:
    return ~torch.isclose(truth, nothing(task), equal_nan=True)


def some_hidden(seed: int = 9) -> Tensor:
    return torch.rand(HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed)) < 0.3


def some_points(seed: int = 5) -> Tensor:
    """Centres of pixels in the middle of the image: [B, m, 2]."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(WIDTH // 4, 3 * WIDTH // 4, (IMAGES, POINTS), generator=generator)
    y = torch.randint(HEIGHT // 4, 3 * HEIGHT // 4, (IMAGES, POINTS), generator=generator)
    return torch.stack([(x + 0.5) / WIDTH, (y + 0.5) / HEIGHT], -1)


def warp_by(matrix: list[list[float]]) -> Warp:
    return Warp(torch.tensor(matrix).repeat(IMAGES, 1, 1))


def assert_same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, equal_nan=True)
