from __future__ import annotations

import math

import torch
from torch import Tensor

from jointdistill.distill.log_depth_l1 import LogDepthL1
from jointdistill.types import Prediction
from tests.distill.pair import batch, prediction

DISTIL = LogDepthL1().build({}, {})


def depth(metres: Tensor) -> Prediction:
    return Prediction({"depth": metres}, {})


def test_a_factor_costs_its_log_at_any_distance() -> None:
    near, far = prediction("depth", 0).answers["depth"], 30 * prediction("depth", 1).answers["depth"]
    for metres in (near, far):
        loss = DISTIL(depth(1.2 * metres), depth(metres), batch())
        torch.testing.assert_close(loss, torch.full((3,), math.log(1.2)))


def test_a_depth_of_0_counts_as_a_millimetre() -> None:
    loss = DISTIL(depth(torch.ones(3, 1, 2, 2)), depth(torch.zeros(3, 1, 2, 2)), batch())
    torch.testing.assert_close(loss, torch.full((3,), math.log(1000)))
