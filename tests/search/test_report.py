"""A sweep's report: its table and its pictures, of trials made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

import pytest

from jointdistill.search import drawing
from jointdistill.search.ledger import Course
from jointdistill.search.report import Report
from jointdistill.search.schedulers.fifo import Fifo
from jointdistill.search.schedulers.pbt import Pbt
from tests.search import stub

BOTH = ("delta_m", "inference_images_per_s")


def course(number: int, curve: Mapping[int, Mapping[str, float]], run: str = "") -> Course:
    point = {"weighting.gain": 0.25 + number / 10, "weighting.temperature": 0.5 + number / 20}
    name = f"told-{number:03d}"
    return Course(name, point, run or name, {step: dict(values) for step, values in curve.items()})


def whole(number: int) -> Course:
    """Of 40 steps; the higher its number, the better its Δm at the end and the slower its student."""
    early = {step: {"delta_m": -number / 10} for step in (10, 20, 30)}
    return course(number, {**early, 40: {"delta_m": number / 10, "inference_images_per_s": 90.0 - number}})


def begun(number: int) -> Course:
    return course(number, {10: {"delta_m": -number / 10}})


def test_an_objective_that_nobody_knows_yet_is_an_empty_axis(tmp_path: Path) -> None:
    sweep = stub.sweep(tmp_path, "told", trials=16, scheduler=Fifo(4), objectives=BOTH)
    courses = [
        *map(whole, range(5)),
        *map(begun, range(5, 10)),
        *(course(each, {}) for each in range(10, 16)),
    ]
    report = Report(sweep, courses)
    assert report.compared_at == 10  # where no student is finished
    assert {*report.pictures()} == {
        "importance-delta_m", "learning-curves", "parallel-coordinates", "pareto-front",
    }  # fmt: skip


def test_what_mattered_is_what_made_trials_differ_and_not_only_bad(tmp_path: Path) -> None:
    """Two of twelve are bad by the temperature alone, while all of them differ by the gain."""
    points = [
        {"weighting.gain": 0.25 + number / 10, "weighting.temperature": 0.5 + (number * 5 % 12) / 20}
        for number in range(12)
    ]
    courses = [
        Course(f"told-{number:03d}", point, f"told-{number:03d}", {40: {"delta_m": point["weighting.gain"]}})
        for number, point in enumerate(points)
    ]
    sweep = stub.sweep(tmp_path, "told", trials=12, scheduler=Fifo())
    assert Report(sweep, courses).importances[0]["weighting.gain"] > 0.8


def test_the_front_is_drawn_of_finished_trials_as_they_ended(tmp_path: Path) -> None:
    sweep = stub.sweep(tmp_path, "told", trials=16, scheduler=Fifo(4), objectives=BOTH)
    beaten = course(9, {40: {"delta_m": 0.0, "inference_images_per_s": 1.0}})
    report = Report(sweep, [whole(1), whole(2), beaten, begun(5)])
    with patch.object(drawing, "pareto_front", return_value=b"") as drawn:
        report.pictures()
    lines, front, names = drawn.call_args.args
    assert {line.name: line.values for line in lines} == {
        "told-001": (0.1, 89.0), "told-002": (0.2, 88.0), "told-009": (0.0, 1.0),
    }  # fmt: skip
    assert {*front} == {"told-001", "told-002"} and [*names] == [*BOTH]


def test_there_is_no_front_to_draw_where_no_finished_trial_has_all_scores(tmp_path: Path) -> None:
    sweep = stub.sweep(tmp_path, "told", trials=16, scheduler=Fifo(4), objectives=BOTH)
    assert "pareto-front" not in Report(sweep, [course(1, {40: {"delta_m": 0.1}})]).pictures()


@pytest.mark.parametrize(("objectives", "joined"), [(BOTH, True), ((*BOTH, "depth/abs_rel"), False)])
def test_only_a_front_of_two_objectives_is_a_line(objectives: tuple[str, ...], joined: bool) -> None:
    values = [(0.1, 90.0, 0.5), (0.2, 80.0, 0.5), (0.0, 70.0, 0.1)]
    lines = [drawing.Line(f"told-{place}", {}, (), each, False) for place, each in enumerate(values)]
    with patch("matplotlib.axes.Axes.plot") as plot:
        drawing.pareto_front(lines, ["told-0", "told-1"], objectives)
    assert plot.called is joined


def test_the_table_gives_the_run_that_has_the_knobs_shown(tmp_path: Path) -> None:
    sweep = stub.sweep(tmp_path, "told", trials=2, scheduler=Pbt(every=10))
    report = Report(
        sweep,
        [
            whole(1),
            course(2, {40: {"delta_m": 0.0}}, run="told-002.at-20"),
            Course("told-003", whole(3).point),
        ],
    )
    first = [line.split(" | ")[0] for line in report.markdown().splitlines() if line.startswith("| told")]
    assert first == ["| told-001", "| told-002.at-20", "| told-003"]
    assert [*report.table().columns[0].cells] == ["told-001", "told-002.at-20", "told-003"]


def test_a_student_without_a_score_is_not_the_best_one(tmp_path: Path) -> None:
    sweep = stub.sweep(tmp_path, "told", trials=2)
    assert Report(sweep, [course(0, {40: {}})]).best is None
    assert "No trial finished with a score" in Report(sweep, [course(0, {40: {}})]).markdown()
    best = Report(sweep, [course(0, {40: {}}), whole(1)]).best
    assert best is not None and best.name == "told-001"
