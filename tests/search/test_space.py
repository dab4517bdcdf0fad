"""A space: knobs by dotted name, and values that fit them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jointdistill.search.space import (
    Choice,
    LogUniform,
    Range,
    Uniform,
    Whole,
    drawn,
    refuse_unfit,
    turned,
)
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import Refusal
from jointdistill.weighting.competence import Competence
from jointdistill.weighting.equal import Equal
from tests.engine import small


def test_knobs_are_turned_through_dataclasses_mappings_and_tuples(tmp_path: Path) -> None:
    space: dict[str, Range] = {
        "weighting.gain": Uniform(0, 4),
        "optimise.learning_rate": LogUniform(1e-4, 1e-2),
        "sampling.labels.depth": Uniform(0.1, 0.9),
        "distil.1.temperature": Uniform(1, 8),
        "seed": Whole(0, 9),
    }
    base = small.experiment(tmp_path)
    point = {knob: values.ends[1] for knob, values in space.items()}
    other = turned(base, space, point)
    assert isinstance(other.weighting, Competence) and other.weighting.gain == 4
    assert other.optimise.learning_rate == 1e-2
    assert dict(other.sampling.labels) == {"depth": 0.9, "segmentation": 0.4}
    assert vars(other.distil[1])["temperature"] == 8 and other.distil[0] == base.distil[0]
    assert other.seed == 9
    assert base == small.experiment(tmp_path)


def test_a_whole_recipe_is_a_value_and_goes_by_its_class(tmp_path: Path) -> None:
    space: dict[str, Range] = {"weighting": Choice((Equal(), Competence(gain=2)))}
    assert space["weighting"].ends == ("Equal", "Competence")
    assert turned(small.experiment(tmp_path), space, {"weighting": "Competence"}).weighting == Competence(
        gain=2
    )


@pytest.mark.parametrize(
    ("knob", "values", "reason"),
    [
        ("weighting.gian", Uniform(0, 1), "no knob 'weighting.gian': at 'gian', did you mean 'gain'"),
        ("distil.7.temperature", Uniform(1, 2), "at '7', there is 0, 1, 2"),
        ("optimise.learning_rate", Uniform(-1, 1), "must be a number above 0"),
        ("optimise.steps", Uniform(1, 2), "takes int, and 1.0 is none"),
        ("weighting.direction", Choice(("up", "down")), "takes 'catch-up' or .* and 'up' is none"),
        ("weighting.gate", Choice((0, 1)), "takes bool, and 0 is none"),
        ("sampling.labels.normals", Uniform(0, 1), "at 'normals', there is depth, segmentation"),
        ("weighting.gain.more", Uniform(0, 1), "at 'more', there is nothing"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, knob: str, values: Range, reason: str) -> None:
    with pytest.raises(Refusal, match=f"The space's '{knob}' at .*{reason}"):
        refuse_unfit(small.experiment(tmp_path), {knob: values})


def test_a_knob_inside_another_knob_is_refused(tmp_path: Path) -> None:
    inner, outer = Uniform(0.5, 2), Choice((Equal(), Competence()))
    for space in (
        {"weighting.gain": inner, "weighting": outer},
        {"weighting": outer, "weighting.gain": inner},
    ):
        with pytest.raises(Refusal, match=r"turns 'weighting' and 'weighting\.gain' inside it"):
            refuse_unfit(small.experiment(tmp_path), space)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Uniform(1, 1), "holds nothing"),
        (lambda: Whole(2, 1), "holds nothing"),
        (lambda: LogUniform(0, 1), "has no logarithm"),
        (lambda: Choice(()), "needs values that differ"),
        (lambda: Choice((1, 1)), "needs values that differ"),
        (lambda: Choice((OwnPast(gain=1), OwnPast(gain=2))), "needs values that differ"),
    ],
)
def test_ranges_that_hold_nothing_are_refused(make, reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        make()


def test_draws_differ_lie_inside_and_are_the_same_again() -> None:
    space: dict[str, Range] = {
        "a": LogUniform(0.1, 10),
        "b": Choice(("x", "y", True, None)),
        "c": Whole(1, 3),
    }
    points = drawn(space, 40, seed=3)
    assert points == drawn(space, 40, seed=3) != drawn(space, 40, seed=4)
    assert points[:10] == drawn(space, 10, seed=3)  # a larger budget begins with the same trials
    assert len({str(point) for point in points}) == 40
    for point in points:
        assert isinstance(point["a"], float) and 0.1 <= point["a"] <= 10
        assert point["b"] in ("x", "y", True, None) and point["c"] in (1, 2, 3)


def test_a_space_may_have_fewer_points_than_trials() -> None:
    space: dict[str, Range] = {"a": Choice((1, 2, 4)), "b": Choice((True, False))}
    assert len(drawn(space, 100, seed=0)) == 6
