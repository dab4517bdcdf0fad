from __future__ import annotations

import math

import pytest
import torch

from jointdistill.types import Refusal
from jointdistill.weighting.equal import Equal
from jointdistill.weighting.none import LabelsOnly
from jointdistill.weighting.static import Static
from tests.weighting.play import TERMS, by, falling, play, weighed


def test_labels_only_is_the_sum_of_the_supervised_losses() -> None:
    method = LabelsOnly().build(TERMS)
    taught = torch.tensor([term.taught for term in TERMS])
    assert torch.equal(weighed(method, TERMS, torch.ones(len(TERMS))).weight[:, 0], (~taught).float())


def test_equal_brings_every_loss_to_the_gain() -> None:
    means = torch.tensor([3.0, 1e-3, 5.0, 7.0, 1e4, 2.0, 0.1])
    method = Equal(gain=0.5).build(TERMS)
    play(method, lambda _: means)
    contribution = weighed(method, TERMS, means).weight[:, 0] * means
    expected = torch.tensor([0.5 if term.taught else mean for term, mean in zip(TERMS, means, strict=True)])
    torch.testing.assert_close(contribution, expected)


def test_static_takes_the_longer_name_first() -> None:
    method = Static({"near": 2.0, "near/depth": 3.0, "city": 0.0}, standardise=False).build(TERMS)
    weights = {"near/depth": 3.0, "city/segmentation": 0.0, "far/depth": 1.0}
    assert by("weight", method.log()) == weights
    factors = by("factor", method.log())
    assert all(factor == weights[name.rpartition("/")[0]] for name, factor in factors.items())


def test_static_without_weights_is_equal() -> None:
    one, other = Static().build(TERMS), Equal().build(TERMS)
    for method in (one, other):
        play(method, falling(TERMS))
    assert one.log() == other.log()


def test_static_refuses_a_name_nobody_has() -> None:
    with pytest.raises(Refusal, match=r"'nera'.*choose among city, city/segmentation, far"):
        Static({"nera": 1.0}).build(TERMS)


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(Refusal, match="at least 0"):
        Static({"near": weight})
    with pytest.raises(Refusal, match="at least 0"):
        Equal(gain=weight)
