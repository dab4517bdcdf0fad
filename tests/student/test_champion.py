"""Who is champion: the same data, nobody left behind, and better on average."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import Model
from jointdistill.student.champion import TOLERANCE, changes, delta_m, judge
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation

TASKS = {"depth": Depth(), "segmentation": Segmentation(("a", "b"))}


def model(abs_rel: float, miou: float, digest: str = "candidate") -> Model:
    scores = {"depth/abs_rel": abs_rel, "depth/rmse": 9.0, "segmentation/miou": miou}
    return Model(Joint(), TASKS, 48, 64, "data", scores, digest)


CHAMPION = model(0.20, 0.50, "champion")


def test_changes_are_signed_by_what_is_better() -> None:
    assert changes(TASKS, model(0.15, 0.55).scores, CHAMPION.scores) == pytest.approx(
        {"depth": 0.25, "segmentation": 0.10}
    )
    assert delta_m({"depth": 0.25, "segmentation": 0.10}) == pytest.approx(0.175)


def test_the_first_version_is_champion() -> None:
    assert judge(CHAMPION, None).champion


@pytest.mark.parametrize(
    ("abs_rel", "miou", "champion"),
    [
        (0.18, 0.50, True),
        (0.20, 0.50, False),  # no better
        (0.19, 0.495, True),  # a task within the noise, better on average
        (0.10, 0.48, False),  # far better on average, but a task is worse than noise
        (0.205, 0.60, False),
        (0.201, 0.501, False),  # both within the noise, worse on average
    ],
)
def test_the_alias_moves_for_a_better_mean_that_leaves_no_task_behind(
    abs_rel: float, miou: float, champion: bool
) -> None:
    assert judge(model(abs_rel, miou), CHAMPION).champion is champion


def test_who_is_scored_on_fewer_pixels_does_not_compare() -> None:
    near = replace(model(0.10, 0.60), tasks={**TASKS, "depth": Depth(max_m=10)})
    said = judge(near, CHAMPION)
    assert not said.champion and "in another range: scores do not compare" in said.reason
    other_loss = replace(model(0.10, 0.60), tasks={**TASKS, "depth": Depth(silog=2)})
    assert judge(other_loss, CHAMPION).champion


def test_the_margin_is_where_it_says() -> None:
    at, beyond = 0.20 * (1 + 0.99 * TOLERANCE), 0.20 * (1 + 1.01 * TOLERANCE)
    assert judge(model(at, 0.60), CHAMPION).champion
    said = judge(model(beyond, 0.60), CHAMPION)
    assert not said.champion
    assert "depth got worse by 2.0%" in said.reason


@pytest.mark.parametrize(
    "other",
    [
        replace(model(0.1, 0.9), data="other data"),
        replace(model(0.1, 0.9), tasks={"depth": Depth()}),
    ],
)
def test_what_does_not_compare_is_not_compared(other: Model) -> None:
    said = judge(other, CHAMPION)
    assert not said.champion
    assert "do not compare" in said.reason


@pytest.mark.parametrize("scores", [{}, {"depth/abs_rel": math.nan, "segmentation/miou": 0.9}])
def test_a_missing_score_moves_nothing(scores: dict[str, float]) -> None:
    said = judge(replace(CHAMPION, scores=scores, digest="candidate"), CHAMPION)
    assert said == (False, "One of the two has no score for depth.")


def test_the_same_weights_stay_champion() -> None:
    assert judge(CHAMPION, CHAMPION).champion


def test_a_perfect_champion_can_be_matched_but_not_beaten() -> None:
    perfect = model(0.0, 1.0, "champion")
    assert changes(TASKS, model(0.0, 1.0).scores, perfect.scores) == {"depth": 0.0, "segmentation": 0.0}
    assert not judge(model(0.01, 1.0), perfect).champion
