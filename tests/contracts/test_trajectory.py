"""What every trajectory source promises. A new file in trajectory/ is tested here unasked."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load, save

from jointdistill.recipe import describe, digest, recipes_in
from jointdistill.trajectory.base import Setting, Trajectory, TrajectoryRecipe
from jointdistill.types import Batch, Feedback, Prediction, Refusal, State
from tests.trajectory.scene import IMAGES, ZOOMED, alone, anchors, batch, predict, setting

RECIPES = recipes_in("jointdistill.trajectory", TrajectoryRecipe)
NOBODY: dict[str, Prediction] = {}


def rich() -> Setting:
    """A run that has whatever a source may live on."""
    return setting(anchors={"wise": anchors(0.6, 0.3, 0.0)})


@pytest.fixture(params=RECIPES.values(), ids=RECIPES.keys())
def recipe(request: pytest.FixtureRequest) -> TrajectoryRecipe:
    return request.param()  # type: ignore[no-any-return]


def visited(recipe: TrajectoryRecipe) -> Trajectory:
    """A source after an epoch, and one visit into the next."""
    source = recipe.build(rich())
    source.write(predict(batch(), 0.2), NOBODY, batch())
    source.merge(alone)
    source.observe(Feedback(5, {"depth": 0.8, "segmentation": 0.8}, {}))
    source.loss(predict(batch(), 0.5), NOBODY, batch())
    source.write(predict(batch(range(3)), 0.1), NOBODY, batch(range(3)))
    return source


def stored(state: State) -> State:
    """As a snapshot keeps it: safetensors and JSON."""
    tensors, plain = state
    return load(save(tensors)), json.loads(json.dumps(plain, allow_nan=False))


def losses(source: Trajectory, views: list[Batch]) -> list[float]:
    return [source.loss(predict(view, 0.5), NOBODY, view).item() for view in views]


def test_a_recipe_is_a_plain_description(recipe: TrajectoryRecipe) -> None:
    assert digest(describe(recipe))


def test_it_teaches_something(recipe: TrajectoryRecipe) -> None:
    now = predict(batch(), 0.7)
    loss = visited(recipe).loss(now, NOBODY, batch())
    loss.backward()
    assert loss.shape == ()
    assert loss > 0
    gradients = [answer.grad for answer in now.answers.values()]
    assert all(found is not None and found.isfinite().all() and found.any() for found in gradients)


def test_at_step_0_the_ramp_is_at_0(recipe: TrajectoryRecipe) -> None:
    at = batch(step=0)
    assert visited(recipe).loss(predict(at, 0.7), NOBODY, at) == 0


def test_micro_batches_add_up(recipe: TrajectoryRecipe) -> None:
    source, whole = visited(recipe), batch()
    parts = [whole[0:2], whole[2:IMAGES]]
    total = sum(losses(source, parts))
    assert total == pytest.approx(losses(source, [whole])[0], rel=1e-5)


def test_writing_changes_neither_answers_nor_loss(recipe: TrajectoryRecipe) -> None:
    source, now = visited(recipe), predict(batch(), 0.5)
    before = losses(source, [batch()])
    answers = {name: answer.detach().clone() for name, answer in now.answers.items()}
    source.write(now, NOBODY, batch())
    assert all(torch.equal(now.answers[name], answer) for name, answer in answers.items())
    assert all(answer.grad is None for answer in now.answers.values())
    assert losses(source, [batch()]) == before


def test_it_is_deterministic(recipe: TrajectoryRecipe) -> None:
    views = [batch(), batch(matrix=ZOOMED)]
    assert losses(visited(recipe), views) == losses(visited(recipe), views)


def test_it_goes_on_from_its_state(recipe: TrajectoryRecipe) -> None:
    straight, resumed = visited(recipe), recipe.build(rich())
    resumed.load(stored(straight.state()))
    for source in (straight, resumed):
        source.write(predict(batch(range(3, 6)), 0.1), NOBODY, batch(range(3, 6)))
    for _ in range(2):  # what was unread, and what is read after the merge
        assert losses(straight, [batch()]) == losses(resumed, [batch()])
        assert straight.log() == resumed.log()
        straight.merge(alone)
        resumed.merge(alone)
    ours, theirs = stored(straight.state()), stored(resumed.state())
    assert ours[1] == theirs[1]
    assert ours[0].keys() == theirs[0].keys()
    for name, values in ours[0].items():
        assert torch.equal(values.nan_to_num(), theirs[0][name].nan_to_num()), name


def test_a_state_is_not_written_to_later(recipe: TrajectoryRecipe) -> None:
    source = visited(recipe)
    state = source.state()
    before = save(state[0]) if state[0] else b""
    source.merge(alone)
    source.loss(predict(batch(), 0.5), NOBODY, batch())
    assert (save(state[0]) if state[0] else b"") == before


def test_reports_are_plain_numbers(recipe: TrajectoryRecipe) -> None:
    for key, value in visited(recipe).log().items():
        assert key.startswith("trajectory/")
        assert isinstance(value, float)


def test_an_unknown_layer_is_refused(recipe: TrajectoryRecipe) -> None:
    with pytest.raises(Refusal, match="student lacks"):
        recipe.check(setting(layers=("neck",), moments={"wise": 3}, teachers={"wise": ("depth",)}))
