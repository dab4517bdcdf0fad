from __future__ import annotations

import pytest
import torch
from kornia.losses import kl_div_loss_2d

from jointdistill.distill.channel_wise import ChannelWise
from jointdistill.types import Refusal
from tests.distill.pair import CHANNELS, LAYER, batch, leaves, prediction

TASK = "segmentation"


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_equals_kornias_divergence_of_spatial_softmaxes(temperature: float) -> None:
    student, source = prediction(TASK, 0, scale=6.0), prediction(TASK, 1, scale=6.0)
    psi, phi = (
        (side.answers[TASK] / temperature).flatten(2).softmax(2).view(3, 5, 8, 8)
        for side in (student, source)
    )
    each = kl_div_loss_2d(psi, phi, reduction="none")  # [B, C]: KL(second ‖ first)
    distil = ChannelWise(temperature=temperature).build({}, {})
    torch.testing.assert_close(distil(student, source, batch()), temperature**2 * each.mean(1))


def test_the_brightness_of_a_channel_does_not_count() -> None:
    student = prediction(TASK, 0)
    brighter = student._replace(answers={TASK: student.answers[TASK] + torch.arange(5.0).view(5, 1, 1)})
    loss = ChannelWise().build({}, {})(student, brighter, batch())
    torch.testing.assert_close(loss, torch.zeros(3), rtol=0, atol=1e-6)


def test_other_channels_get_a_connector_that_learns() -> None:
    distil = ChannelWise(layer=LAYER).build(CHANNELS, {LAYER: 9})
    loss = distil(prediction(TASK, 0), prediction(TASK, 1, channels=9), batch())
    loss.sum().backward()
    weight, _ = distil.parameters()
    assert weight.shape == (9, 6, 1, 1)
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_a_connector_takes_features_in_half_precision() -> None:
    distil = ChannelWise(layer=LAYER).build(CHANNELS, {LAYER: 9})
    student, source = prediction(TASK, 0), prediction(TASK, 1, channels=9)
    half = student._replace(features={LAYER: student.features[LAYER].bfloat16()})
    torch.testing.assert_close(
        distil(half, source, batch()), distil(student, source, batch()), rtol=0.05, atol=1e-3
    )


def test_equal_channels_need_no_connector() -> None:
    assert list(ChannelWise(layer=LAYER).build(CHANNELS, CHANNELS).parameters()) == []


def test_on_a_layer_the_answers_do_not_count() -> None:
    student, source = prediction(TASK, 0), prediction(TASK, 1)
    loss = ChannelWise(layer=LAYER).build(CHANNELS, CHANNELS)(student, source, batch())
    answer, feature = torch.autograd.grad(loss.sum(), leaves(student), allow_unused=True)
    assert answer is None
    assert feature is not None


def test_no_temperature_is_refused() -> None:
    with pytest.raises(Refusal, match="above 0"):
        ChannelWise(temperature=-1.0)
