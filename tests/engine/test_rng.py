"""Every generator goes on where it was, and ranks draw their own numbers."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from jointdistill.engine import rng


def draw() -> list[float]:
    gauss = [random.gauss(0, 1), float(np.random.standard_normal())]  # noqa: NPY002
    return [random.random(), float(np.random.rand()), float(torch.rand(())), *gauss]  # noqa: NPY002


@pytest.mark.parametrize("drawn_before", [0, 1])
def test_drawing_goes_on_where_it_was(drawn_before: int) -> None:
    rng.begin(3, 0)
    for _ in range(drawn_before):  # a pair of Gaussian numbers is then half used up
        draw()
    kept = rng.take()
    expected = draw()
    rng.begin(99, 0)
    rng.restore(kept)
    assert draw() == expected


def test_ranks_draw_different_numbers_and_runs_the_same() -> None:
    drawn = []
    for rank in (0, 1, 0):
        rng.begin(3, rank)
        drawn.append(draw())
    assert drawn[0] == drawn[2]
    assert not set(drawn[0]) & set(drawn[1])
