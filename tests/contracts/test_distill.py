"""What every distillation loss promises. A new file in distill/ is tested here unasked."""

from __future__ import annotations

from dataclasses import MISSING, fields

import pytest
import torch
from torch import Tensor

from jointdistill.distill.base import Distil, DistilRecipe
from jointdistill.recipe import describe, digest, recipes_in
from jointdistill.types import Prediction, Refusal
from tests.distill.pair import CHANNELS, LAYER, batch, leaves, prediction

NEEDED = {"task": "depth", "layer": LAYER}
"""What a recipe without a default for it is given."""


def variants(kind: type[DistilRecipe]) -> list[DistilRecipe]:
    """The recipe by its defaults; where it can look at answers or at a layer, both."""
    needed = {knob.name: NEEDED[knob.name] for knob in fields(kind) if knob.default is MISSING}
    plain = kind(**needed)
    choosable = any(knob.name == "layer" for knob in fields(kind)) and not plain.layers
    return [plain, kind(**needed, layer=LAYER)] if choosable else [plain]


RECIPES = [
    recipe for kind in recipes_in("jointdistill.distill", DistilRecipe).values() for recipe in variants(kind)
]


def name_of(recipe: DistilRecipe) -> str:
    return "-".join([type(recipe).__name__, *recipe.layers])


@pytest.fixture(params=RECIPES, ids=name_of)
def recipe(request: pytest.FixtureRequest) -> DistilRecipe:
    return request.param


@pytest.fixture
def distil(recipe: DistilRecipe) -> Distil:
    return recipe.build(CHANNELS, CHANNELS)


def gradients(loss: Tensor, of: Prediction) -> list[Tensor]:
    found = torch.autograd.grad(loss.sum(), leaves(of), allow_unused=True)
    return [gradient for gradient in found if gradient is not None]


def test_a_recipe_is_a_plain_description(recipe: DistilRecipe) -> None:
    assert digest(describe(recipe))
    assert recipe.task
    assert recipe.loss.replace(".", "_").isidentifier()


def test_equal_networks_have_loss_0(recipe: DistilRecipe, distil: Distil) -> None:
    same = prediction(recipe.task, 0)
    assert torch.equal(distil(same, same, batch()), torch.zeros(3))


def test_unequal_networks_have_a_loss_an_image(recipe: DistilRecipe, distil: Distil) -> None:
    loss = distil(prediction(recipe.task, 0), prediction(recipe.task, 1), batch())
    assert loss.shape == (3,)
    assert (loss > 0).all()


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4, -1e4])
def test_loss_and_gradient_are_finite(recipe: DistilRecipe, distil: Distil, scale: float) -> None:
    student = prediction(recipe.task, 0, scale=scale)
    for source in (prediction(recipe.task, 1, scale=-scale), student):
        loss = distil(student, source, batch())
        assert (loss >= 0).all()
        assert loss.isfinite().all()
        assert all(gradient.isfinite().all() for gradient in gradients(loss, student))


def test_the_student_learns(recipe: DistilRecipe, distil: Distil) -> None:
    student, source = prediction(recipe.task, 0), prediction(recipe.task, 1)
    before = distil(student, source, batch()).sum()
    (slope,) = gradients(before, student)
    (used,) = [leaf for leaf in leaves(student) if leaf.shape == slope.shape]
    with torch.no_grad():
        used -= 0.01 * slope / slope.abs().max()
    assert distil(student, source, batch()).sum() < before


def test_the_source_gets_no_gradient(recipe: DistilRecipe, distil: Distil) -> None:
    source = prediction(recipe.task, 1)
    loss = distil(prediction(recipe.task, 0), source, batch())
    assert gradients(loss, source) == []


def test_each_image_has_its_own_loss(recipe: DistilRecipe, distil: Distil) -> None:
    student, source = prediction(recipe.task, 0), prediction(recipe.task, 1)
    before = distil(student, source, batch())
    with torch.no_grad():
        for leaf in leaves(student):
            leaf[2] *= torch.linspace(0.5, 2.0, leaf[2].numel()).view_as(leaf[2])
    after = distil(student, source, batch())
    assert torch.equal(before[:2], after[:2])
    assert before[2] != after[2]


def test_a_source_of_another_size_is_compared(recipe: DistilRecipe, distil: Distil) -> None:
    student, source = prediction(recipe.task, 0), prediction(recipe.task, 1, size=16)
    coarser = prediction(recipe.task, 2, size=4)
    for one, other in ((student, source), (student, coarser)):
        loss = distil(one, other, batch())
        assert loss.shape == (3,)
        assert (loss > 0).all()


def test_half_precision_is_compared_in_full(recipe: DistilRecipe, distil: Distil) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        student, source = (
            Prediction(
                {task: answer.bfloat16() for task, answer in full.answers.items()},
                {layer: feature.bfloat16() for layer, feature in full.features.items()},
            )
            for full in (prediction(recipe.task, 0), prediction(recipe.task, 1))
        )
    half = distil(student, source, batch())  # the engine computes losses outside of it
    full = distil(prediction(recipe.task, 0), prediction(recipe.task, 1), batch())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("recipe", [recipe for recipe in RECIPES if recipe.layers], ids=name_of)
def test_a_missing_layer_is_refused(recipe: DistilRecipe) -> None:
    for student, source, side in (({}, CHANNELS, "student"), (CHANNELS, {}, "teacher")):
        with pytest.raises(Refusal, match=f"The {side} has no layer '{LAYER}'"):
            recipe.build(student, source)
