"""What every task promises. A new file in tasks/ is tested here unasked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from jointdistill.recipe import describe, digest
from jointdistill.tasks.base import Task
from jointdistill.warp import Warp
from tests.contracts.any_task import (
    CARD,
    HEIGHT,
    IMAGES,
    MIRROR,
    RIGHT_HALF,
    WIDTH,
    answer_of,
    assert_same,
    each_task,
    known,
    nothing,
    raw_of,
    some_hidden,
    truth_of,
    warp_by,
)

pytestmark = each_task


# -- the recipe --------------------------------------------------------------------------------------


def test_a_task_is_a_plain_description(task: Task) -> None:
    assert digest(describe(task)) == digest(describe(type(task)().described_by(CARD)))


def test_the_column_is_a_plain_name(task: Task) -> None:
    assert task.column.isidentifier()


# -- data --------------------------------------------------------------------------------------------


def test_unknown_has_the_form_of_a_truth(task: Task) -> None:
    truth = truth_of(task, 0)
    assert nothing(task).shape == truth.shape
    assert nothing(task).dtype == truth.dtype


def test_what_cannot_be_a_truth_is_refused(task: Task) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        task.decode(np.zeros((HEIGHT, WIDTH), bool), CARD)


# -- geometry ----------------------------------------------------------------------------------------


def test_the_identity_changes_nothing(task: Task) -> None:
    truth = truth_of(task, 0, some_hidden())
    assert_same(task.warp(truth, Warp.identity(IMAGES), (HEIGHT, WIDTH)), truth)


def test_a_mirror_reverses_the_columns_and_undoes_itself(task: Task) -> None:
    truth = truth_of(task, 0, some_hidden())
    mirrored = task.warp(truth, warp_by(MIRROR), (HEIGHT, WIDTH))
    # What a task does to the values is its own affair; where they are known is not.
    assert torch.equal(known(task, mirrored), known(task, truth).flip(-1))
    assert_same(task.warp(mirrored, warp_by(MIRROR), (HEIGHT, WIDTH)), truth)


def test_beyond_the_edge_nothing_is_known(task: Task) -> None:
    truth = truth_of(task, 0)
    moved = task.warp(truth, warp_by(RIGHT_HALF), (HEIGHT, WIDTH))
    assert_same(moved[..., : WIDTH // 2], truth[..., WIDTH // 2 :])
    assert_same(moved[..., WIDTH // 2 :], nothing(task)[..., WIDTH // 2 :])


# -- learning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_loss_and_gradient_are_finite(task: Task, scale: float) -> None:
    raw = (scale * raw_of(task, 0)).requires_grad_()
    loss = task.loss(task.answer(raw), truth_of(task, 1, some_hidden()))
    assert loss.shape == (IMAGES,)
    assert (loss >= 0).all()
    loss.sum().backward()
    assert raw.grad is not None
    assert loss.isfinite().all()
    assert raw.grad.isfinite().all()


def test_the_gradient_is_finite_where_nothing_is_wrong(task: Task) -> None:
    raw = raw_of(task, 0).requires_grad_()
    answer = task.answer(raw)
    task.loss(answer, task.as_truth(answer.detach())).sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


def test_the_loss_falls_under_gradient_descent(task: Task) -> None:
    truth = truth_of(task, 1)
    raw = raw_of(task, 0).requires_grad_()
    before = task.loss(task.answer(raw), truth).sum()
    (slope,) = torch.autograd.grad(before, raw)
    after = task.loss(task.answer(raw - 0.1 * slope / slope.abs().max()), truth).sum()
    assert after < before


def test_unknown_pixels_have_no_say(task: Task) -> None:
    hidden = some_hidden()
    truth = truth_of(task, 1, hidden)
    raw = raw_of(task, 0).requires_grad_()
    loss = task.loss(task.answer(raw), truth)
    (gradient,) = torch.autograd.grad(loss.sum(), raw)
    assert (gradient[..., hidden] == 0).all()
    assert (gradient[..., ~hidden] != 0).any()
    elsewhere = torch.where(hidden, raw_of(task, 2), raw)
    assert_same(task.loss(task.answer(elsewhere), truth), loss)


def test_an_image_without_truth_has_loss_and_gradient_0(task: Task) -> None:
    raw = raw_of(task, 0).requires_grad_()
    loss = task.loss(task.answer(raw), nothing(task))
    (gradient,) = torch.autograd.grad(loss.sum(), raw)
    assert torch.equal(loss, torch.zeros(IMAGES))
    assert torch.equal(gradient, torch.zeros_like(raw))


def test_each_image_has_its_own_loss(task: Task) -> None:
    truth = truth_of(task, 1, some_hidden())
    loss = task.loss(answer_of(task, 0), truth)
    alone = [task.loss(answer_of(task, 0)[i : i + 1], truth[i : i + 1])[0] for i in range(IMAGES)]
    assert_same(loss, torch.stack(alone))


def test_a_smaller_answer_is_brought_to_the_truths_size(task: Task) -> None:
    raw = raw_of(task, 0, (HEIGHT // 2, WIDTH // 2)).requires_grad_()
    loss = task.loss(task.answer(raw), truth_of(task, 1))
    (gradient,) = torch.autograd.grad(loss.sum(), raw)
    assert loss.shape == (IMAGES,)
    assert gradient.isfinite().all()


# -- metrics -----------------------------------------------------------------------------------------


def test_the_scores_are_among_the_metrics(task: Task) -> None:
    values = task.score(task.tally(answer_of(task, 0), truth_of(task, 1, some_hidden())))
    assert set(task.scores) <= set(values)
    assert all(value.ndim == 0 and value.isfinite() for value in values.values())


def test_metrics_do_not_depend_on_the_split(task: Task) -> None:
    answer, truth = answer_of(task, 0), truth_of(task, 1, some_hidden())
    whole = task.tally(answer, truth)
    added = {name: torch.zeros_like(total) for name, total in whole.items()}
    for image in range(IMAGES):
        here = slice(image, image + 1)
        for name, part in task.tally(answer[here], truth[here]).items():
            added[name] += part
    assert all(total.dtype == torch.float64 for total in whole.values())
    for name, value in task.score(whole).items():
        assert_same(task.score(added)[name], value)


def test_metrics_ignore_unknown_pixels(task: Task) -> None:
    hidden = some_hidden()
    raw, truth = raw_of(task, 0), truth_of(task, 1, hidden)
    one = task.tally(task.answer(raw), truth)
    other = task.tally(task.answer(torch.where(hidden, raw_of(task, 2), raw)), truth)
    assert task.score(one) == task.score(other)


def test_the_right_answer_scores_best(task: Task) -> None:
    answer = answer_of(task, 0)
    right = task.score(task.tally(answer, task.as_truth(answer)))
    wrong = task.score(task.tally(answer, truth_of(task, 1)))
    for name, more_is_better in task.scores.items():
        best, other = right[name], wrong[name]
        assert best > other if more_is_better else best < other, name


# -- looking -----------------------------------------------------------------------------------------


def test_answers_and_truths_are_drawn_alike(task: Task) -> None:
    answer = answer_of(task, 0)
    picture = task.draw(answer)
    assert picture.dtype == torch.uint8
    assert picture.shape == (IMAGES, 3, HEIGHT, WIDTH)
    assert torch.equal(task.draw(task.as_truth(answer)), picture)
    assert len(picture.unique()) > 3


def test_unknown_is_drawn_black(task: Task) -> None:
    hidden = some_hidden()
    picture = task.draw(truth_of(task, 0, hidden))
    assert (picture[..., hidden] == 0).all()
    assert (picture.sum(1)[..., ~hidden] > 0).all()
