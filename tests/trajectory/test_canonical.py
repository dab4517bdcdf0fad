"""What is written from one view is read from any other."""

import pytest
import torch
from torch import Tensor

from jointdistill.trajectory.judge import Judge
from jointdistill.trajectory.past import Past
from jointdistill.trajectory.points import centres, visible
from jointdistill.trajectory.record import Layout, Records
from jointdistill.trajectory.sight import look, replay
from jointdistill.warp import Warp
from tests.trajectory.scene import FLIPPED, GRID, IMAGES, PLAIN, TASKS, ZOOMED, batch, predict, setting

CELLS = GRID[0] * GRID[1]
LAYOUT = Layout.of(TASKS, "decoder", GRID, CELLS)
JUDGE = Judge(TASKS, setting().labelled, IMAGES)
ZOOMED_OUT = torch.tensor([[0.5, 0.0, 0.25], [0.0, 0.5, 0.25], [0.0, 0.0, 1.0]])
VIEWS = {"flipped": FLIPPED, "zoomed": ZOOMED, "flipped and zoomed": FLIPPED @ ZOOMED}


def written(matrix: Tensor) -> Records:
    """All cells of all images, as one view of them has them recorded."""
    view = batch(matrix=matrix)
    return replay(predict(view, torch.linspace(0, 0.5, CELLS).view(GRID)), {}, view, JUDGE, LAYOUT)


def shown(matrix: Tensor) -> Tensor:
    """[cells] bool."""
    return visible(Warp(matrix[None]).points(centres(GRID)[None]))[0]


@pytest.mark.parametrize("matrix", VIEWS.values(), ids=VIEWS)
def test_any_view_writes_the_same_record(matrix: Tensor) -> None:
    plain, other, here = written(PLAIN), written(matrix), shown(matrix)
    assert here.sum() >= CELLS // 4
    assert torch.equal(plain.cell, other.cell)  # all cells, rising
    depth = [table.columns("depth")["log_depth"][:, here].float() for table in (plain, other)]
    assert torch.allclose(*depth, atol=2e-3)  # metres are undone by the zoom; float16
    for column in ("top_class", "top_probability"):
        classes = [table.columns("segmentation")[column][:, here, :1] for table in (plain, other)]
        assert torch.equal(*classes)
    attention = [torch.nn.functional.normalize(t.attention[:, here], dim=1) for t in (plain, other)]
    assert torch.allclose(*attention, atol=2e-3)


@pytest.mark.parametrize("matrix", VIEWS.values(), ids=VIEWS)
def test_what_a_view_does_not_show_has_no_weight(matrix: Tensor) -> None:
    table, here = written(matrix), shown(matrix)
    assert (table.attention[:, ~here] == 0).all()
    assert (table.attention[:, here] > 0).all()


def test_a_view_that_looks_past_the_edge_shows_every_cell() -> None:
    assert shown(ZOOMED_OUT).all()


@pytest.mark.parametrize("matrix", VIEWS.values(), ids=VIEWS)
def test_a_record_of_the_plain_view_is_right_in_any_other(matrix: Tensor) -> None:
    view = batch(matrix=matrix)
    plain = batch()
    table = replay(predict(plain, 0.0), {}, plain, JUDGE, LAYOUT)
    past = Past.of(table, view, TASKS)
    now = predict(view, 0.0)
    there = past.attention > 0
    assert torch.equal(there.any(0), shown(matrix))
    for name, task in TASKS.items():
        distance = task.recall(past.columns[name], now.answers[name], past.points)
        assert distance[there].max() < 0.02, name  # what bytes lose; another cell would be 1 or more


@pytest.mark.parametrize("matrix", VIEWS.values(), ids=VIEWS)
def test_the_error_of_a_cell_does_not_depend_on_the_view(matrix: Tensor) -> None:
    wrong = torch.linspace(0, 0.9, CELLS).view(GRID)
    cells = torch.arange(CELLS).expand(IMAGES, -1)
    errors = []
    for view in (batch(), batch(matrix=matrix)):
        errors.append(look(predict(view, wrong), {}, view, JUDGE, LAYOUT, cells).error)
    for name in TASKS:
        here = shown(matrix)
        plain, other = errors[0][name], errors[1][name]
        assert torch.allclose(plain[:, here], other[:, here], atol=5e-3), name
        assert other[:, ~here].isnan().all()
