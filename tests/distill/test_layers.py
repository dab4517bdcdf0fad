from __future__ import annotations

import pytest
import torch

from jointdistill.distill.layers import channels_of, same_size
from jointdistill.types import Refusal


def test_the_finer_map_is_averaged_and_the_coarser_untouched() -> None:
    fine = torch.arange(16.0).view(1, 1, 4, 4)
    coarse = torch.zeros(1, 3, 2, 2)
    smaller, same = same_size(fine, coarse)
    assert smaller.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert same is coarse


def test_each_side_may_be_the_coarser() -> None:
    wide, high = torch.ones(1, 1, 2, 8), torch.ones(1, 1, 8, 2)
    assert [tuple(each.shape[-2:]) for each in same_size(wide, high)] == [(2, 2), (2, 2)]


def test_a_refusal_names_the_layers_there_are() -> None:
    with pytest.raises(Refusal, match=r"'stem'.*it has encoder, decoder"):
        channels_of("stem", {"encoder": 3, "decoder": 4}, {"stem": 1})
