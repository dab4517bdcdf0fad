import torch

from jointdistill.trajectory.points import attention_at, centres, essential_points, visible
from tests.trajectory.scene import CELL, GRID, batch, predict


def test_centres_run_row_by_row() -> None:
    assert torch.allclose(
        centres((2, 4)),
        torch.tensor([[x, y] for y in (0.25, 0.75) for x in (0.125, 0.375, 0.625, 0.875)]),
    )


def test_points_beyond_an_edge_are_not_visible() -> None:
    points = torch.tensor([[0.0, 0.5], [1.0, 1.0], [-0.01, 0.5], [0.5, 1.01]])
    assert visible(points).tolist() == [True, True, False, False]


def test_essential_points_are_looked_at_and_right() -> None:
    generator = torch.Generator().manual_seed(3)
    attention, losses = torch.rand(2, 3, 40, generator=generator)
    chosen = essential_points(attention, losses, 7)
    for image in range(3):
        worth = [float(attention[image, cell]) * float(torch.exp(-losses[image, cell])) for cell in range(40)]
        best = sorted(range(40), key=lambda cell: -worth[cell])[:7]
        assert chosen[image].tolist() == sorted(best)


def test_a_cell_that_nobody_can_judge_comes_last() -> None:
    attention = torch.tensor([[9.0, 1.0, 2.0, 3.0]])
    losses = torch.tensor([[torch.nan, 5.0, 5.0, 5.0]])
    assert essential_points(attention, losses, 3).tolist() == [[1, 2, 3]]


def test_attention_is_the_energy_of_the_cell() -> None:
    features = predict(batch(), 0.0).features["decoder"]
    of_cell = features[:, :, ::CELL, ::CELL].square().sum(1).flatten(1)
    read = attention_at(features, GRID, centres(GRID).expand(6, -1, -1))
    assert torch.allclose(read, of_cell, rtol=1e-4)
