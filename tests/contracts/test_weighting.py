"""What every weighting promises. A new file in weighting/ is tested here unasked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from jointdistill.recipe import describe, digest, methods_in
from jointdistill.types import Feedback, Stats, Term
from jointdistill.weighting.base import Weighting, WeightingRecipe
from tests.weighting.confidence import Confidence
from tests.weighting.play import (
    FEEDBACK,
    IMAGES,
    TERMS,
    falling,
    gram_of,
    losses_of,
    play,
    shuffled,
    stored,
    weighed,
)
from tests.weighting.surgery import Surgery
from tests.weighting.uncertainty import Uncertainty

SHIPPED = methods_in("jointdistill.weighting", WeightingRecipe)
KINDS = [*SHIPPED.values(), Confidence, Uncertainty, Surgery]
UNLABELLED = Feedback(
    0, student={"depth": float("nan")}, teachers={"near": {}, "far": {"depth": float("nan")}}
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def recipe(request: pytest.FixtureRequest) -> WeightingRecipe:
    return request.param()


def sound(method: Weighting, terms: tuple[Term, ...], means: Tensor) -> Tensor:
    """The weights [K, B], after a look at them."""
    weight = weighed(method, terms, means).weight
    assert weight.shape in {(len(terms), 1), (len(terms), IMAGES)}
    assert weight.isfinite().all()
    assert (weight >= 0).all()
    assert not weight.requires_grad
    return weight.expand(len(terms), IMAGES)


def test_the_words_of_the_command_line() -> None:
    assert {"none", "equal", "static", "competence"} <= SHIPPED.keys()
    assert not {"fixed", "factors", "pairs", "scale", "base"} & SHIPPED.keys()


def test_a_recipe_can_be_described_and_hashed(recipe: WeightingRecipe) -> None:
    assert digest(describe(recipe)) == digest(describe(type(recipe)()))


def test_weights_are_finite_and_not_negative_all_the_way(recipe: WeightingRecipe) -> None:
    method, means = recipe.build(TERMS), falling(TERMS)
    for start in range(0, 200, 50):
        sound(method, TERMS, means(start))
        play(method, means, range(start, start + 50))
    sound(method, TERMS, means(200))


def test_nobody_is_listened_to_where_the_recipe_does_not_teach(recipe: WeightingRecipe) -> None:
    method, means = recipe.build(TERMS), falling(TERMS)
    play(method, means)
    taught = torch.tensor([term.taught for term in TERMS])
    weight = sound(method, TERMS, means(200))
    assert (weight[~taught] > 0).all()
    assert (weight[taught] > 0).all() if recipe.teaches else (weight[taught] == 0).all()


@pytest.mark.parametrize("term", [TERMS[0], TERMS[1]], ids=str)
def test_one_term_is_enough(recipe: WeightingRecipe, term: Term) -> None:
    method, means = recipe.build((term,)), falling((term,))
    play(method, means)
    sound(method, (term,), means(200))


def test_labels_may_be_missing(recipe: WeightingRecipe) -> None:
    absent = torch.tensor([torch.nan if term.source == "labels" else 1.0 for term in TERMS])
    means = falling(TERMS)
    method = recipe.build(TERMS)
    play(method, lambda step: means(step) * absent, feedback=lambda _: UNLABELLED)
    sound(method, TERMS, means(200) * absent)
    assert all(torch.tensor(value).isfinite() for value in method.log().values())


def test_the_order_of_the_terms_does_not_matter(recipe: WeightingRecipe) -> None:
    others, order = shuffled(TERMS)
    here, there = recipe.build(TERMS), recipe.build(others)
    play(here, falling(TERMS))
    play(there, falling(others))
    losses = losses_of(TERMS, falling(TERMS)(200))
    moved = replace(
        losses,
        terms=others,
        value=losses.value[order],
        present=losses.present[order],
        count=losses.count[order],
        teacher=losses.teacher[order],
    )
    expected = here.weigh(losses, Stats(200, gram=gram_of(TERMS))).weight[order]
    found = there.weigh(moved, Stats(200, gram=gram_of(others))).weight
    torch.testing.assert_close(found, expected)


def test_200_steps_are_100_and_a_snapshot_and_100_more(recipe: WeightingRecipe) -> None:
    means = falling(TERMS)
    straight, first, second = (recipe.build(TERMS) for _ in range(3))
    play(straight, means, range(200))
    play(first, means, range(100))
    second.load(stored(first.state()))
    play(second, means, range(100, 200))
    assert torch.equal(weighed(second, TERMS, means(200)).weight, weighed(straight, TERMS, means(200)).weight)
    assert second.log() == straight.log()
    assert_same(second, straight)


def test_loading_a_state_changes_nothing_and_is_all_a_new_one_needs(recipe: WeightingRecipe) -> None:
    method, means = recipe.build(TERMS), falling(TERMS)
    play(method, means, range(130))
    weight, log, state = weighed(method, TERMS, means(130)).weight, method.log(), stored(method.state())
    for loaded in (method, recipe.build(TERMS)):
        loaded.load(state)
        assert torch.equal(weighed(loaded, TERMS, means(130)).weight, weight)
        assert loaded.log() == log


def test_weighing_never_waits_for_the_device(recipe: WeightingRecipe) -> None:
    """A meta tensor has no values, so that whoever asks for one fails."""
    method, means = recipe.build(TERMS), falling(TERMS)
    if list(method.parameters()):
        pytest.skip("its parameters live on the losses' device")
    play(method, means, range(50))
    stats = Stats(50, gram=gram_of(TERMS).to("meta"))
    assert method.weigh(losses_of(TERMS, means(50), "meta"), stats).weight.device.type == "meta"
    sound(method, TERMS, means(50))


def test_what_is_logged_is_named_by_its_teacher(recipe: WeightingRecipe) -> None:
    method = recipe.build(TERMS)
    play(method, falling(TERMS))
    tasks = {term.task for term in TERMS}
    assert all(any(task in name.split("/") for task in tasks) for name in method.log())


def test_feedback_is_taken_by_whoever_hears_it(recipe: WeightingRecipe) -> None:
    recipe.build(TERMS).observe(FEEDBACK)


def assert_same(one: Weighting, other: Weighting) -> None:
    tensors, values = one.state()
    wanted, others = other.state()
    assert values == others
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[name].nan_to_num(-1), wanted[name].nan_to_num(-1)) for name in wanted)
