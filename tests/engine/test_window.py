"""What an interval's numbers become of the steps in it."""

from __future__ import annotations

import math

import pytest
import torch

from jointdistill.engine.ranks import Ranks
from jointdistill.engine.window import Window
from jointdistill.types import Step, Term


def step(number: int, norm: float, loss: float) -> Step:
    finite = torch.tensor(math.isfinite(norm))
    return Step(
        keys=("a",),
        losses=torch.tensor([loss]),
        present=torch.tensor([True]),
        weight=torch.ones(1),
        trajectory=torch.tensor(0.5),
        gradient_norm=torch.tensor(norm),
        learning_rate=0.1,
        finite=finite,
        sound=torch.tensor([math.isfinite(loss)]),
    )


def test_a_step_that_is_not_finite_leaves_the_others_of_its_interval() -> None:
    window = Window([Term("labels", "depth", "supervised")], Ranks(torch.device("cpu")))
    for number, (norm, loss) in enumerate(
        [(1.0, 2.0), (math.inf, math.inf), (math.nan, math.nan), (3.0, 4.0)]
    ):
        window.add(step(number, norm, loss))
    window.reduce(4)
    said = window.report()
    assert said["gradient_norm"] == 2.0 and said["finite_steps"] == 0.5 and said["unsound_images"] == 2.0
    assert said["loss/trajectory"] == 0.5
    assert [value for name, value in said.items() if name.startswith("loss/labels")] == [pytest.approx(3.0)]
