from dataclasses import replace

import pytest
import torch

from jointdistill.trajectory.teacher_way import TeacherWay, TeacherWayTrajectory
from jointdistill.types import Feedback, Prediction, Refusal
from tests.trajectory.scene import IMAGES, ZOOMED, anchors, batch, predict, setting

RECIPE = TeacherWay(gain=1.0, ramp=0.0)
WAY = anchors(0.8, 0.4, 0.0)
NOBODY: dict[str, Prediction] = {}


def on_the_way(recipe: TeacherWay = RECIPE) -> TeacherWayTrajectory:
    return recipe.build(setting(anchors={"wise": WAY}))


def heard(loss: float) -> Feedback:
    return Feedback(0, {"depth": loss, "segmentation": loss}, {})


def test_the_first_anchor_leads_before_any_feedback() -> None:
    assert on_the_way().ahead("wise") == 0


@pytest.mark.parametrize(("loss", "leader"), [(2.0, 0), (0.9, 1), (0.6, 1), (0.5, 2), (0.01, 2)])
def test_the_leader_is_one_step_ahead(loss: float, leader: int) -> None:
    """The anchors' losses are 0.9, 0.5 and 0.1."""
    way = on_the_way()
    way.observe(heard(loss))
    assert way.ahead("wise") == leader
    assert way.log() == {"trajectory/anchor/wise": float(leader)}


def test_old_feedback_fades() -> None:
    way = on_the_way()
    way.observe(heard(2.0))
    way.observe(heard(0.45))
    assert way.ahead("wise") == 1  # weights 1/3 and 2/3: a geometric mean of 0.74, not 0.45
    way.observe(heard(0.1))
    assert way.ahead("wise") == 2


def test_a_task_that_was_not_measured_says_nothing() -> None:
    way = on_the_way()
    way.observe(Feedback(0, {"depth": 0.6, "segmentation": float("nan")}, {}))
    assert way.ahead("wise") == 1


def test_an_anchors_own_answers_have_no_loss() -> None:
    loss = on_the_way().loss(predict(batch(), 0.8, seed=9), NOBODY, batch())
    assert loss.item() < 0.02  # what float16 and bytes lose


def test_the_student_is_led_to_the_anchor() -> None:
    way = on_the_way()
    way.observe(heard(0.6))
    now = predict(batch(), 0.8)
    way.loss(now, NOBODY, batch()).backward()
    depth = now.answers["depth"].grad
    assert depth is not None
    assert depth.any() and (depth >= 0).all()  # the anchor's depth is nearer
    assert now.answers["segmentation"].grad is not None
    assert now.features["decoder"].grad is not None  # and so is where it looks


def test_views_that_show_a_part_compare_that_part() -> None:
    close = batch(matrix=ZOOMED)
    assert on_the_way().loss(predict(close, 0.8, seed=9), NOBODY, close).item() < 0.02


def test_at_the_last_anchor_the_way_ends() -> None:
    way = on_the_way()
    way.observe(heard(0.2))
    now = predict(batch(), 0.8)
    assert way.loss(now, NOBODY, batch()) == 0


def test_the_shares_of_two_ranks_add_up() -> None:
    way = on_the_way()
    shares = []
    for rank in range(2):
        mine = batch(range(rank, IMAGES, 2))
        shares.append(way.loss(predict(mine, 0.3), NOBODY, mine))
    assert torch.allclose(sum(shares), way.loss(predict(batch(), 0.3), NOBODY, batch()))


def test_a_teacher_without_a_way_is_left_out() -> None:
    way = RECIPE.build(setting(anchors={"wise": WAY, "bought": WAY[:1]}))
    assert list(way.log()) == ["trajectory/anchor/wise"]


def test_no_way_at_all_is_refused() -> None:
    with pytest.raises(Refusal, match="two anchors"):
        RECIPE.check(setting(moments={"bought": 1}))


def test_a_way_on_which_nobody_can_place_the_student_is_refused() -> None:
    led = setting(moments={"wise": 3}, teachers={"wise": ("depth",)})
    RECIPE.check(led)
    with pytest.raises(Refusal, match=r"way of 'wise': the feedback slice has no label"):
        RECIPE.check(replace(led, heard=frozenset({"segmentation"})))


def test_anchors_of_other_images_are_refused() -> None:
    with pytest.raises(Refusal, match="6 images, the run has 7"):
        RECIPE.build(setting(anchors={"wise": WAY}, images=7))


@pytest.mark.parametrize("recipe", [{"memory": 1.0}, {"gain": -1.0}, {"layer": "neck"}])
def test_bad_knobs_are_refused(recipe: dict[str, object]) -> None:
    with pytest.raises(Refusal):
        TeacherWay(**recipe).check(setting(moments={"wise": 3}, teachers={"wise": ("depth",)}))  # type: ignore[arg-type]


def test_a_lone_task_is_led_alone() -> None:
    tasks = {"depth": setting().tasks["depth"]}
    way = RECIPE.build(replace(setting(anchors={"wise": WAY}), tasks=tasks))
    now = predict(batch(), 0.3)
    way.loss(Prediction({"depth": now.answers["depth"]}, now.features), NOBODY, batch()).backward()
    assert now.answers["depth"].grad is not None
