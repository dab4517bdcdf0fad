from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from jointdistill.weighting.scale import RunningMean, Scale


def test_the_running_mean_is_that_of_pandas() -> None:
    values = torch.randn(40, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values[7] = math.nan
    mean = RunningMean(1, keep=0.9)
    for value in values:
        mean.update(value)
    reference = pd.Series(values[:, 0].numpy()).ewm(alpha=0.1, adjust=True, ignore_na=True).mean()
    assert mean.value.item() == pytest.approx(reference.iloc[-1])


def test_nothing_heard_is_unknown() -> None:
    mean = RunningMean(2, keep=0.9)
    mean.update(torch.tensor([3.0, math.nan]))
    assert mean.value[0] == pytest.approx(3.0)
    assert mean.value[1].isnan()


def test_the_beginning_is_a_geometric_mean_over_the_warm_up() -> None:
    scale = Scale(1, warmup_steps=2)
    scale.update(torch.tensor([[2.0], [8.0], [4.0], [4.0]], dtype=torch.float64))
    weights = [0.98**age for age in (3, 2, 1, 0)]
    mean = sum(w * math.log(x) for w, x in zip(weights, (2, 8, 4, 4), strict=True)) / sum(weights)
    assert scale.descent.item() == pytest.approx(mean - math.log(4))


def test_a_loss_of_zero_has_no_log_and_a_size_all_the_same() -> None:
    scale = Scale(1)
    scale.update(torch.zeros(3, 1, dtype=torch.float64))
    assert scale.inverse.tolist() == [0.0]
    assert scale.descent.isnan().all()
    scale.update(torch.ones(3, 1, dtype=torch.float64))
    assert scale.inverse.item() == pytest.approx(2, rel=0.05)


def test_the_slope_is_of_the_last_window() -> None:
    scale = Scale(1)
    scale.update(torch.full((10, 1), 2.0, dtype=torch.float64))
    assert scale.slope.isnan().all()
    scale.update(torch.full((10, 1), 2.0, dtype=torch.float64))
    assert scale.slope.item() == pytest.approx(0)
    scale.update(torch.full((10, 1), 1.0, dtype=torch.float64))
    assert scale.slope.item() < -0.1
