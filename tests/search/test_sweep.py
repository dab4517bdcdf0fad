"""A sweep that contradicts itself dies when it is built; methods keep their contract."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from jointdistill.recipe import methods_in
from jointdistill.search.objective import objectives_of, refuse_no_reference, values
from jointdistill.search.schedulers.asha import Asha
from jointdistill.search.schedulers.base import SchedulerRecipe
from jointdistill.search.schedulers.fifo import Fifo
from jointdistill.search.schedulers.pb2 import Pb2
from jointdistill.search.schedulers.pbt import Pbt
from jointdistill.search.searchers.base import Search, SearcherRecipe
from jointdistill.search.searchers.tpe import Tpe
from jointdistill.search.space import Choice, Uniform, Whole
from jointdistill.search.sweep import Sweep
from jointdistill.types import Refusal
from tests.engine import small

SCHEDULERS = methods_in("jointdistill.search.schedulers", SchedulerRecipe)
SEARCHERS = methods_in("jointdistill.search.searchers", SearcherRecipe)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep("gains", small.experiment(tmp_path), {"weighting.gain": Uniform(0.5, 2)})


def test_there_are_the_methods_that_the_page_names() -> None:
    assert [*SCHEDULERS] == ["asha", "fifo", "pb2", "pbt"]
    assert [*SEARCHERS] == ["random", "tpe"]


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"space": {}}, "turns no knob"),
        ({"space": {"weighting.gian": Uniform(0, 1)}}, "did you mean 'gain'"),
        ({"trials": 0}, "--trials must be at least 1"),
        ({"hours": -1.0}, "--hours"),
        ({"objectives": ()}, "needs an objective: choose of delta_m, depth/abs_rel"),
        ({"objectives": ("val/loss",)}, "Nobody logs the objective 'val/loss': choose of delta_m"),
        (
            {"objectives": ("delta_m", "parameters"), "scheduler": Asha()},
            "asha ranks by one number, and the sweep 'gains' has 2",
        ),
        ({"objectives": ("images_per_s",), "scheduler": Asha()}, "known only then"),
        ({"searcher": Tpe(), "scheduler": Pbt()}, "pbt begins with all trials before any ends"),
        ({"searcher": Tpe(), "scheduler": Asha()}, "asha begins with all trials before any ends"),
        ({"trials": 1, "scheduler": Pbt()}, "at least 2 members"),
        (
            {"space": {"weighting.gate": Choice((True, False))}, "scheduler": Pb2()},
            "pb2 models numbers, and 'weighting.gate' is Choice",
        ),
        ({"space": {"anchors": Whole(1, 2)}}, "cannot turn 'anchors'"),
        ({"space": {"optimise.steps": Whole(10, 20)}}, "cannot turn 'optimise.steps'"),
        ({"space": {"student.width": Whole(4, 8)}, "scheduler": Pbt()}, "cannot turn 'student.width'"),
    ],
)
def test_a_contradiction_is_refused(sweep: Sweep, knobs: dict[str, object], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        replace(sweep, **knobs)  # type: ignore[arg-type]


def test_a_larger_budget_is_the_same_sweep_and_another_space_is_not(sweep: Sweep) -> None:
    told = ("data", {"depth": "digest"})
    more = replace(sweep, trials=99, hours=2.0, gpu_hours=3.0)
    assert more.identity(*told) == sweep.identity(*told)
    assert replace(sweep, scheduler=Asha()).identity(*told) != sweep.identity(*told)
    assert replace(sweep, seed=1).identity(*told) != sweep.identity(*told)


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 800])
@pytest.mark.parametrize("word", SCHEDULERS)
def test_rungs_rise_and_end_with_the_trial(word: str, steps: int) -> None:
    recipe = SCHEDULERS[word]()
    assert isinstance(recipe, SchedulerRecipe)
    rungs = recipe.rungs(steps)
    assert [*rungs] == sorted({*rungs}) and rungs[0] >= 1 and rungs[-1] == steps
    assert rungs[0] <= recipe.expected_steps(steps, trials=4) <= 4 * steps


@pytest.mark.parametrize("word", SCHEDULERS)
def test_a_scheduler_is_built_and_listens_to_steps(word: str, sweep: Sweep) -> None:
    scheduler = SCHEDULERS[word]().build(sweep.race)  # type: ignore[attr-defined]
    assert getattr(scheduler, "_time_attr", "step") == "step"


@pytest.mark.parametrize("word", SEARCHERS)
def test_a_searcher_gives_points_of_the_space(word: str, sweep: Sweep) -> None:
    search = Search(sweep.space, sweep.ranked_by, trials=3, seed=0)
    assert SEARCHERS[word]().trials(search) == 3  # type: ignore[attr-defined]
    assert SEARCHERS[word]().build(search) is not None  # type: ignore[attr-defined]


def test_whole_trials_are_judged_as_often_as_asked() -> None:
    assert Fifo().rungs(300) == (300,)
    assert Fifo(6).rungs(300) == (50, 100, 150, 200, 250, 300)
    assert Fifo(6).rungs(4) == (1, 2, 3, 4)
    assert Fifo(6).expected_steps(300, 16) == 4800


def test_asha_halves_at_powers_of_its_reduction() -> None:
    assert Asha().rungs(900) == (150, 750, 900)
    assert Asha(grace=50, reduction=2).rungs(300) == (50, 100, 200, 300)
    assert Asha(grace=500).rungs(300) == (300,)
    assert Asha().expected_steps(900, 16) == 16 * 150 + 3 * 600 + 1 * 150


def test_a_population_meets_at_even_steps() -> None:
    assert Pbt().rungs(800) == tuple(range(100, 801, 100))
    assert Pbt(every=300).rungs(800) == (300, 600, 800)
    assert Fifo().rungs(800) == (800,)


def test_delta_m_compares_headlines_with_the_reference(sweep: Sweep) -> None:
    scores = {"depth/abs_rel": 0.15, "segmentation/miou": 0.55, "depth/rmse": 9.0}
    reference = {"depth/abs_rel": 0.20, "segmentation/miou": 0.50}
    found = values(sweep.base.tasks, scores, reference)
    assert found == {**scores, "delta_m": pytest.approx((0.25 + 0.10) / 2)}
    assert values(sweep.base.tasks, scores, {"depth/abs_rel": 0.2}) == scores
    refuse_no_reference(sweep.base.tasks, reference)
    with pytest.raises(Refusal, match="Δm compares segmentation/miou"):
        refuse_no_reference(sweep.base.tasks, {"depth/abs_rel": 0.2})


def test_directions_come_from_the_tasks(sweep: Sweep) -> None:
    names = ("delta_m", "depth/abs_rel", "segmentation/miou", "parameters")
    assert [one.mode for one in objectives_of(names, sweep.base)] == ["max", "min", "max", "min"]
    error = objectives_of(("depth/abs_rel",), sweep.base)[0]
    assert error.better(0.1, 0.2) and not error.better(0.2, 0.1) and error.better(0.2, math.nan)
    assert not error.better(math.nan, 0.2) and not error.better(math.nan, math.nan)
