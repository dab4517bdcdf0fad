"""What every teacher promises. A new file in teachers/ is tested here unasked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jointdistill.recipe import describe, digest, recipes_in
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.teachers.base import Teacher, TeacherRecipe
from jointdistill.teachers.registered import Registered
from jointdistill.types import Batch, Prediction, Refusal
from jointdistill.warp import Warp
from tests.engine.tracked import TASKS, saved, write
from tests.teachers.scene import batch_of

EXAMPLES: dict[type[TeacherRecipe], Callable[[Path], TeacherRecipe]] = {
    Registered: lambda folder: Registered(str(write(saved(), folder / "model"))),
}
"""Recipe → one to test with, where its defaults do not make a teacher."""

KINDS = recipes_in("jointdistill.teachers", TeacherRecipe)  # type: ignore[type-abstract]


@pytest.fixture(params=KINDS.values(), ids=lambda kind: kind.__name__)
def recipe(request: pytest.FixtureRequest, tmp_path: Path) -> TeacherRecipe:
    make = EXAMPLES.get(request.param)
    return make(tmp_path) if make else request.param()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "run"))


@pytest.fixture
def pinned(recipe: TeacherRecipe, store: Store) -> TeacherRecipe:
    return recipe.pin(store, "sqlite:///nowhere.db")


@pytest.fixture
def teacher(pinned: TeacherRecipe, store: Store) -> Teacher:
    return pinned.build(TASKS, store)


def same(one: Prediction, other: Prediction) -> bool:
    return all(torch.equal(one.answers[task], other.answers[task]) for task in one.answers)


def test_the_recipe_is_a_plain_description(pinned: TeacherRecipe, store: Store) -> None:
    assert digest(describe(pinned)) == digest(describe(replace(pinned)))


def test_a_pinned_recipe_stays_as_it_is(pinned: TeacherRecipe, store: Store) -> None:
    assert pinned.pin(store, "sqlite:///nowhere.db") == pinned


def test_it_is_frozen(teacher: Teacher) -> None:
    assert not teacher.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(answer.requires_grad for answer in teacher(batch_of()).answers.values())


def test_it_answers_the_same_each_time_and_for_each_image_alone(teacher: Teacher) -> None:
    batch = batch_of()
    together = teacher(batch)
    assert same(together, teacher(batch))
    alone = teacher(batch[slice(1, 2)])
    for task, answer in alone.answers.items():
        torch.testing.assert_close(answer, together.answers[task][1:2])


def test_its_answers_have_the_shape_of_their_task(teacher: Teacher) -> None:
    batch = batch_of()
    said = teacher(batch)
    assert tuple(said.answers) == teacher.card.tasks
    for task, answer in said.answers.items():
        assert answer.is_floating_point()
        assert answer.isfinite().all()
        assert answer.shape[:2] == (len(batch), TASKS[task].channels)
    assert {layer: feature.shape[1] for layer, feature in said.features.items()} == dict(teacher.channels)


def test_its_depth_is_in_metres(teacher: Teacher) -> None:
    if "depth" in teacher.card.tasks:
        assert teacher.card.units["depth"] == "metre"
        assert teacher(batch_of()).answers["depth"].min() > 0


def test_it_normalises_by_itself(teacher: Teacher) -> None:
    batch = batch_of()
    kept = batch.image.clone()
    teacher(batch)
    assert torch.equal(batch.image, kept)  # images come in 0..1 and stay so


def test_its_digest_is_stable_and_says_what_it_is(
    pinned: TeacherRecipe, teacher: Teacher, store: Store
) -> None:
    assert len(teacher.card.digest) == 64
    assert pinned.build(TASKS, store).card.digest == teacher.card.digest


def test_it_does_not_look_where_a_batch_came_from(teacher: Teacher) -> None:
    batch: Batch = batch_of()
    elsewhere = replace(batch, index=batch.index + 7, slots=batch.slots + 7, warp=Warp.identity(len(batch)))
    assert same(teacher(batch), teacher(elsewhere))


def test_other_classes_than_the_datas_are_refused(pinned: TeacherRecipe, store: Store) -> None:
    other = {**TASKS, "segmentation": replace(TASKS["segmentation"], classes=("sky", "river", "tree"))}
    try:
        taught = pinned.build(other, store)
    except Refusal as refused:
        assert "class 1 is 'road' for it and 'river' in the data's card" in str(refused)
    else:
        assert taught.card.classes in ((), ("sky", "river", "tree"))
