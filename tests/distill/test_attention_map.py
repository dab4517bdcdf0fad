from __future__ import annotations

import torch
from torch import Tensor

from jointdistill.distill.attention_map import AttentionMap
from jointdistill.types import Prediction
from tests.distill.pair import LAYER, batch, prediction

DISTIL = AttentionMap("depth", LAYER).build({LAYER: 2}, {LAYER: 3})


def feature(values: Tensor) -> Prediction:
    return Prediction({}, {LAYER: values})


def test_it_is_2_minus_twice_the_cosine_of_the_maps() -> None:
    student, source = prediction("depth", 0), prediction("depth", 1, channels=11)
    one, other = (side.features[LAYER].square().sum(1).flatten(1) for side in (student, source))
    wanted = 2 - 2 * torch.cosine_similarity(one, other, 1)
    torch.testing.assert_close(DISTIL(student, source, batch()), wanted, rtol=1e-4, atol=1e-6)


def test_channels_and_signs_and_strength_do_not_count() -> None:
    looked = torch.rand(3, 1, 4, 4)
    one = torch.cat([looked, -looked], 1)
    torch.testing.assert_close(DISTIL(feature(one), feature(7 * looked), batch()), torch.zeros(3))


def test_looking_at_different_places_costs_2() -> None:
    left, right = torch.zeros(3, 2, 4, 4), torch.zeros(3, 3, 4, 4)
    left[..., :2], right[..., 2:] = 1.0, 1.0
    torch.testing.assert_close(DISTIL(feature(left), feature(right), batch()), torch.full((3,), 2.0))


def test_a_finer_map_is_averaged() -> None:
    coarse = torch.rand(3, 2, 4, 4)
    fine = coarse.repeat_interleave(2, -1).repeat_interleave(2, -2)
    torch.testing.assert_close(DISTIL(feature(fine), feature(coarse), batch()), torch.zeros(3))


def test_two_layers_have_two_names() -> None:
    assert AttentionMap("depth", "encoder").loss == "attention_map.encoder"
