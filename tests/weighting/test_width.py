"""The contract carries methods of every family; these three are never shipped."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from jointdistill.types import Losses, Stats, Term
from tests.weighting.confidence import Confidence
from tests.weighting.play import gram_of, losses_of
from tests.weighting.surgery import Surgery, projected
from tests.weighting.uncertainty import Uncertainty

TEACHERS = tuple(Term(name, "segmentation", "tempered_kl") for name in ("one", "two", "three"))


def test_confidence_trusts_whom_the_labels_confirm_image_by_image() -> None:
    wrong = torch.tensor([[0.1, 3.0], [0.1, 0.1], [3.0, 0.1]])
    losses = replace(losses_of(TEACHERS, torch.ones(3)), value=torch.ones(3, 2), teacher=wrong)
    weight = Confidence().build(TEACHERS).weigh(losses, Stats()).weight
    torch.testing.assert_close(weight.sum(0), torch.ones(2))
    assert weight[:, 0].argmin() == 2
    assert weight[:, 1].argmin() == 0


def test_confidence_treats_all_alike_where_there_is_no_label() -> None:
    losses = replace(losses_of(TEACHERS, torch.ones(3)), teacher=torch.full((3, 4), torch.nan))
    weight = Confidence().build(TEACHERS).weigh(losses, Stats()).weight
    torch.testing.assert_close(weight, torch.full((3, 4), 1 / 3))


def test_uncertainty_learns_the_same_on_two_ranks_as_on_one() -> None:
    losses = losses_of(TEACHERS, torch.tensor([1.0, 10.0, 0.1]))
    whole = gradient_of(losses)
    shares = sum(gradient_of(half_of(losses, rows)) for rows in (slice(0, 1), slice(1, 4)))
    torch.testing.assert_close(shares, whole)
    torch.testing.assert_close(whole, (1 - losses.mean()) / 2)


def gradient_of(losses: Losses) -> Tensor:
    method = Uncertainty().build(losses.terms)
    method.weigh(losses, Stats()).total(losses).backward()
    (parameter,) = method.parameters()
    assert parameter.grad is not None
    return parameter.grad


def half_of(losses: Losses, rows: slice) -> Losses:
    """A rank's share: its own images, and the global counts."""
    return replace(losses, value=losses.value[:, rows], present=losses.present[:, rows])


def test_uncertainty_ends_where_every_loss_counts_the_same() -> None:
    losses = losses_of(TEACHERS, torch.tensor([1.0, 10.0, 0.1]))
    method = Uncertainty().build(TEACHERS)
    optimiser = torch.optim.SGD(method.parameters(), lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        method.weigh(losses, Stats()).total(losses).backward()
        optimiser.step()
    torch.testing.assert_close(
        method.weigh(losses, Stats()).weight[:, 0] * losses.mean(), torch.full((3,), 0.5)
    )


def test_surgery_is_the_projection_of_the_gradients_themselves() -> None:
    gradients = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    order = [2, 0, 3, 1]
    total = torch.zeros(3)
    for row in range(4):
        kept = gradients[row].clone()
        for other in (other for other in order if other != row):
            kept -= (
                (kept @ gradients[other]).clamp(max=0) / gradients[other].square().sum() * gradients[other]
            )
        total += kept
    coefficients = projected(gradients @ gradients.T, order)
    torch.testing.assert_close(coefficients @ gradients, total)
    assert (coefficients >= 1).all()


def test_surgery_leaves_gradients_alone_that_agree() -> None:
    method = Surgery().build(TEACHERS)
    agreeing = method.weigh(losses_of(TEACHERS, torch.ones(3)), Stats(gram=torch.eye(3))).weight
    assert torch.equal(agreeing, torch.ones(3, 1))
    assert not torch.equal(
        method.weigh(losses_of(TEACHERS, torch.ones(3)), Stats(gram=opposed())).weight, agreeing
    )


def opposed() -> Tensor:
    gram = gram_of(TEACHERS)
    return -gram.abs() + 2 * gram.diag().diag()
