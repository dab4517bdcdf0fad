from __future__ import annotations

import torch

from jointdistill.tasks.colour import palette, turbo


def test_the_scale_runs_from_blue_to_red_through_its_table() -> None:
    colours = turbo(torch.tensor([0.0, 7 / 14, 1.0]).view(1, 1, 3))[0, :, 0].T.tolist()
    assert colours == [[48, 18, 59], [164, 252, 59], [122, 4, 2]]


def test_colours_between_two_steps_are_mixed() -> None:
    assert turbo(torch.full((1, 1, 1), 0.5 / 14)).flatten().tolist() == [56, 44, 115]


def test_values_beyond_the_scale_have_its_ends_and_nan_is_black() -> None:
    colours = turbo(torch.tensor([-5.0, 5.0, torch.nan]).view(1, 1, 3))[0, :, 0].T.tolist()
    assert colours == [[48, 18, 59], [122, 4, 2], [0, 0, 0]]


def test_a_palette_repeats_nothing() -> None:
    assert len(set(palette(60))) == 60
