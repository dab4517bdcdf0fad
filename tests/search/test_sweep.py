"""A sweep that contradicts itself dies when it is built; methods keep their contract."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.tune import Trainable
from ray.tune.experiment import Experiment
from ray.tune.search import SearchAlgorithm, SearchGenerator

from jointdistill.launch.settle import inscribe
from jointdistill.recipe import methods_in
from jointdistill.search.conduct import prepare
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
from jointdistill.search.tuning import Share
from jointdistill.store.objects import open_store
from jointdistill.teachers.registered import Registered
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import Refusal
from jointdistill.weighting.competence import Competence
from jointdistill.weighting.equal import Equal
from tests.engine import small
from tests.search import stub

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
        ({"name": "my sweep"}, "--name 'my sweep' is no name"),
        ({"name": "gains.at-40"}, "'.at-' marks the runs of clones"),
        ({"trials": 0}, "--trials must be at least 1"),
        ({"hours": -1.0}, "--hours and --gpu-hours numbers of at least 0"),
        ({"gpu_hours": -1.0}, "--hours and --gpu-hours numbers of at least 0"),
        ({"hours": math.nan}, "--hours and --gpu-hours numbers of at least 0"),
        ({"gpu_hours": math.inf}, "--hours and --gpu-hours numbers of at least 0"),
        (
            {"reference": {"segmentation/mIoU": 0.3}},
            "`reference` names 'segmentation/mIoU', which is no score: did you mean 'segmentation/miou'",
        ),
        (
            {"reference": {"loss": 0.3}},
            "'loss', which is no score: choose of depth/abs_rel, .*segmentation/miou",
        ),
        ({"reference": {"depth/abs_rel": 0.0}}, "`reference` gives depth/abs_rel 0.0, and Δm divides by it"),
        ({"reference": {"depth/abs_rel": math.nan}}, "`reference` gives depth/abs_rel nan"),
        ({"objectives": ()}, "needs an objective: choose of delta_m, depth/abs_rel"),
        ({"objectives": ("val/loss",)}, "Nobody logs the objective 'val/loss': choose of delta_m"),
        (
            {"objectives": ("delta_m", "parameters"), "scheduler": Asha()},
            "asha ranks by one number, and the sweep 'gains' has 2",
        ),
        ({"objectives": ("inference_images_per_s",), "scheduler": Asha()}, "known only then"),
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
        (
            {"space": {"distil.1.temperature": Uniform(1, 8)}, "scheduler": Pbt()},
            "A population cannot turn 'distil.1.temperature'",
        ),
        (
            {"space": {"weighting": Choice((Equal(), Competence()))}, "scheduler": Pbt()},
            "A population cannot turn 'weighting'",
        ),
    ],
)
def test_a_contradiction_is_refused(sweep: Sweep, knobs: dict[str, object], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        replace(sweep, **knobs)  # type: ignore[arg-type]


def test_what_a_population_cannot_turn_others_can(sweep: Sweep) -> None:
    for space in (
        {"distil.1.temperature": Uniform(1, 8)},
        {"weighting": Choice((Equal(), Competence()))},
        {"student.width": Whole(4, 8)},
    ):
        assert replace(sweep, space=space).space == space


def test_of_a_memory_a_population_turns_only_what_a_clone_keeps_it_with(sweep: Sweep) -> None:
    base = replace(sweep.base, trajectory=(OwnPast(),))
    population = replace(sweep, base=base, scheduler=Pbt(), space={"trajectory.0.gain": Uniform(0.1, 1)})
    with pytest.raises(Refusal, match=r"A population cannot turn 'trajectory\.0\.points'"):
        replace(population, space={"trajectory.0.points": Whole(8, 16)})


def test_a_larger_budget_is_the_same_sweep_and_another_space_is_not(sweep: Sweep) -> None:
    told = ("data", {"depth": "digest"})
    more = replace(sweep, trials=99, hours=2.0, gpu_hours=3.0)
    assert more.identity(*told) == sweep.identity(*told)
    assert replace(sweep, scheduler=Asha()).identity(*told) != sweep.identity(*told)
    assert replace(sweep, seed=1).identity(*told) != sweep.identity(*told)


def test_a_population_keeps_its_size(tmp_path: Path) -> None:
    population = stub.sweep(tmp_path, "population", trials=4, scheduler=Pbt(every=10))
    launch = small.launch(tmp_path)
    settled, _ = prepare(population, launch, Share())
    inscribe(open_store(launch.storage), settled)
    longer = replace(population, hours=2.0)
    assert prepare(longer, launch, Share())[0].subject.identity == settled.subject.identity
    with pytest.raises(
        Refusal, match=r"'population' exists and is another one: .*trials is 5 here and 4 there"
    ):
        prepare(replace(population, trials=5), launch, Share())


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 800])
@pytest.mark.parametrize("word", SCHEDULERS)
def test_rungs_rise_and_end_with_the_trial(word: str, steps: int) -> None:
    recipe = SCHEDULERS[word]()
    assert isinstance(recipe, SchedulerRecipe)
    rungs = recipe.rungs(steps)
    assert [*rungs] == sorted({*rungs}) and rungs[0] >= 1 and rungs[-1] == steps
    assert rungs[0] <= recipe.expected_steps(steps, trials=4) <= 4 * steps


@pytest.mark.parametrize("recipe", [Pbt(every=5), Pb2(every=5)])
@pytest.mark.parametrize(("objective", "sign"), [("delta_m", 1), ("depth/abs_rel", -1)])
def test_a_population_is_compared_by_its_objective_at_its_steps(
    recipe: SchedulerRecipe, objective: str, sign: int, sweep: Sweep
) -> None:
    built = recipe.build(replace(sweep, objectives=(objective,)).race)
    assert (built._time_attr, built._perturbation_interval) == ("step", 5)
    assert (built._metric, built._metric_op) == (objective, sign)


def test_only_scores_of_this_data_are_what_delta_m_compares_with(tmp_path: Path) -> None:
    sweep, launch = stub.sweep(tmp_path, "referred"), small.launch(tmp_path)
    sweep = replace(sweep, reference={})

    def score_teachers_on(data: str) -> Sweep:
        for task, score in stub.REFERENCE.items():
            small.teacher(tmp_path / data / task.split("/")[0], task.split("/")[0], 0, data, {task: score})
        base = sweep.base
        teachers = {task: Registered(str(tmp_path / data / task)) for task in base.tasks}
        return replace(sweep, base=replace(base, teachers=teachers))

    data = prepare(stub.sweep(tmp_path, "data"), launch, Share())[0].subject.data
    assert prepare(score_teachers_on(data), launch, Share())[1].reference == stub.REFERENCE
    with pytest.raises(Refusal, match="no teacher says its own on this data"):
        prepare(score_teachers_on("other"), launch, Share())


def test_no_clone_keeps_all_of_its_donors_knobs(sweep: Sweep) -> None:
    space = {"weighting.gain": Choice((0.5, 1.0, 2.0)), "weighting.temperature": Uniform(1.0, 2.0)}
    built = Pbt(every=5).build(replace(sweep, space=space).race)
    edge = SimpleNamespace(config={"weighting.gain": 0.5, "weighting.temperature": 2.0})
    drawn = [built._get_new_config(None, edge)[0] for _ in range(100)]
    assert edge.config not in drawn
    assert any(point["weighting.gain"] == 0.5 for point in drawn)  # one of the two may stay


@pytest.mark.parametrize("word", SEARCHERS)
def test_a_searcher_gives_as_many_points_of_the_space_as_asked(
    word: str, sweep: Sweep, tmp_path: Path
) -> None:
    space = {"weighting.gain": Uniform(0.5, 2), "weighting.gate": Choice((True, False))}
    # More than TPE draws at random before it begins to think.
    search = Search(space, sweep.ranked_by, trials=12, seed=0, at_once=12)
    recipe = SEARCHERS[word]()
    assert isinstance(recipe, SearcherRecipe) and recipe.trials(search) == 12
    points = asked(recipe, search, tmp_path)
    assert len({str(point) for point in points}) == 12
    for point in points:
        assert point.keys() == space.keys()
        assert 0.5 <= point["weighting.gain"] <= 2 and point["weighting.gate"] in (True, False)


def test_a_thinking_searcher_begins_with_what_is_known(sweep: Sweep, tmp_path: Path) -> None:
    known = [{"weighting.gain": 0.75}, {"weighting.gain": 1.25}]
    search = Search(sweep.space, sweep.ranked_by, trials=3, seed=0, at_once=3, known=known)
    assert asked(Tpe(), search, tmp_path)[:2] == known


def asked(recipe: SearcherRecipe, search: Search, folder: Path) -> list[dict[str, Any]]:
    """The points of a searcher, as Tune asks for them."""
    built = recipe.build(search)
    algorithm = built if isinstance(built, SearchAlgorithm) else SearchGenerator(built)
    algorithm.add_configurations(
        [
            Experiment(
                "asked",
                Trainable,
                config={} if recipe.listens else dict.fromkeys(search.space),
                num_samples=recipe.trials(search),
                storage_path=str(folder),
            )
        ]
    )
    return [trial.config for trial in iter(algorithm.next_trial, None)]


def test_whole_trials_are_judged_as_often_as_asked() -> None:
    assert Fifo().rungs(300) == (300,)
    assert Fifo(6).rungs(300) == (50, 100, 150, 200, 250, 300)
    assert Fifo(6).rungs(4) == (1, 2, 3, 4)
    assert Fifo(6).expected_steps(300, 16) == 4800


def test_asha_halves_at_powers_of_its_reduction() -> None:
    assert Asha().rungs(900) == (113, 226, 452, 900)
    assert Asha().rungs(4) == (1, 2, 4)
    assert Asha(grace=50, reduction=2).rungs(300) == (50, 100, 200, 300)
    assert Asha(grace=500).rungs(300) == (300,)
    assert Asha().expected_steps(800, 16) == 16 * 100 + 8 * 100 + 4 * 200 + 2 * 400


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
