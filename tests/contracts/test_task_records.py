"""What every task promises of its compact record. A new file in tasks/ is tested here unasked."""

from __future__ import annotations

import pytest
import torch

from jointdistill.tasks.base import Task
from jointdistill.tasks.geometry import nearest
from tests.contracts.any_task import (
    HEIGHT,
    IMAGES,
    POINTS,
    WIDTH,
    ZOOM_2,
    answer_of,
    assert_same,
    each_task,
    raw_of,
    some_hidden,
    some_points,
    truth_of,
    warp_by,
)

pytestmark = each_task


def test_record_columns_survive_storage(task: Task) -> None:
    compact = task.compact(answer_of(task, 0), some_points())
    assert set(compact) == set(task.record)
    for name, column in task.record.items():
        stored = compact[name].numpy().astype(column.dtype)
        assert stored.shape == (IMAGES, POINTS, column.width)
        assert_same(torch.from_numpy(stored), compact[name])


def test_a_record_is_least_wrong_about_its_own_answer(task: Task) -> None:
    points, truth = some_points(), truth_of(task, 0)
    own = task.error(task.compact(answer_of(task, 0), points), nearest(truth, points))
    other = task.error(task.compact(answer_of(task, 1), points), nearest(truth, points))
    assert own.shape == (IMAGES, POINTS)
    assert (own > -1e-6).all()  # a cosine may round to above 1
    assert own.mean() < other.mean()


def test_an_error_is_unknown_exactly_where_the_truth_is(task: Task) -> None:
    hidden, points = some_hidden(), some_points()
    error = task.error(task.compact(answer_of(task, 0), points), nearest(truth_of(task, 1, hidden), points))
    column = (points[..., 0] * WIDTH).long()
    row = (points[..., 1] * HEIGHT).long()
    assert torch.equal(error.isnan(), hidden[row, column])


def test_recall_is_least_for_what_was_remembered(task: Task) -> None:
    points = some_points()
    past = task.compact(answer_of(task, 0), points)
    same = task.recall(past, answer_of(task, 0), points)
    changed = task.recall(past, answer_of(task, 1), points)
    assert same.shape == (IMAGES, POINTS)
    assert (changed > -1e-6).all()
    assert same.mean() < 0.2 * changed.mean()


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_recall_has_a_finite_gradient(task: Task, scale: float) -> None:
    points = some_points()
    past = task.compact(task.answer(scale * raw_of(task, 0)), points)
    raw = (scale * raw_of(task, 1)).requires_grad_()
    recall = task.recall(past, task.answer(raw), points)
    (gradient,) = torch.autograd.grad(recall.sum(), raw)
    assert recall.isfinite().all()
    assert gradient.isfinite().all()
    assert scale > 1 or (gradient != 0).any()


def test_a_record_reads_the_same_in_every_view(task: Task) -> None:
    """Canonical → zoomed view: points and columns move with the truth, so the error stays."""
    truth, points, warp = truth_of(task, 1), some_points(), warp_by(ZOOM_2)
    canonical = task.compact(answer_of(task, 0), points)
    view = task.rescale(canonical, warp.zoom)
    view_truth = task.warp(truth, warp, (2 * HEIGHT, 2 * WIDTH))
    there = task.error(view, nearest(view_truth, warp.points(points)))
    torch.testing.assert_close(there, task.error(canonical, nearest(truth, points)), rtol=0, atol=5e-3)
    back = task.rescale(view, 1 / warp.zoom)
    assert all(back[name].dtype == canonical[name].dtype for name in canonical)
    for name, values in back.items():
        torch.testing.assert_close(values.float(), canonical[name].float(), rtol=0, atol=5e-3)
