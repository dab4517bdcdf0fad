from __future__ import annotations

import numpy as np
import pytest
import torch

from jointdistill.types import Card
from jointdistill.warp import Warp
from tests.tasks.normals import Normals

TASK = Normals()
MIRROR = Warp(torch.tensor([[[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]))


def test_vectors_are_brought_to_length_1_and_0_is_unknown() -> None:
    stored = np.array([[[0.0, 3.0, 4.0], [0.0, 0.0, 0.0]]], np.float32)
    decoded = TASK.decode(stored, Card("rooms"))
    np.testing.assert_allclose(decoded[:, 0].T, [[0, 0.6, 0.8], [np.nan] * 3], rtol=1e-6)


def test_a_mirror_turns_a_normal_to_the_other_side() -> None:
    truth = torch.tensor([[[[0.6, 0.0]], [[0.8, 0.6]], [[0.0, 0.8]]]])  # [1, 3, 1, 2]
    wanted = truth.flip(-1) * torch.tensor([-1.0, 1.0, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(TASK.warp(truth, MIRROR, (1, 2)), wanted)


def test_the_mean_angle_is_in_degrees() -> None:
    right_angle = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    other = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1)
    truth = torch.cat([other, right_angle, torch.full((1, 3, 1, 1), torch.nan)])
    values = TASK.score(TASK.tally(right_angle.expand(3, -1, -1, -1), truth))
    assert float(values["mean_angle"]) == pytest.approx(45)
