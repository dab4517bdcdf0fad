"""Whole sweeps under a Ray of their own: real trials in miniature, and many that train nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from jointdistill.engine.claims import Claims, Hold, Owner
from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch.cluster import connected
from jointdistill.launch.run import run
from jointdistill.launch.settle import result
from jointdistill.launch.stop import StopSign
from jointdistill.launch.work import Message, Note, Outcome, Work
from jointdistill.search import tuning
from jointdistill.search.answers import Answers
from jointdistill.search.conduct import conduct
from jointdistill.search.ending import Ending
from jointdistill.search.plan import Segment
from jointdistill.search.report import Report
from jointdistill.search.schedulers.asha import Asha
from jointdistill.search.schedulers.base import SchedulerRecipe
from jointdistill.search.schedulers.fifo import Fifo
from jointdistill.search.schedulers.pb2 import Pb2
from jointdistill.search.schedulers.pbt import Pbt
from jointdistill.search.searchers.tpe import Tpe
from jointdistill.search.space import turned
from jointdistill.search.sweep import Sweep
from jointdistill.search.tuning import Share
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.engine import small
from tests.jobs.head import alone
from tests.search import stub

pytestmark = [pytest.mark.ray]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with connected(2, "cpu"):
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


def go(folder: Path, sweep: Sweep, notes: list[str] | None = None, real: bool = False) -> Report:
    def watch(message: Message) -> None:
        if isinstance(message, Note) and notes is not None:
            notes.append(message.text)

    told = replace(small.launch(folder), register="best" if real else "")
    return conduct(sweep, told, Share(), watch, **({} if real else {"segment": stub.segment()}))


def recorded(folder: Path) -> tuple[MlflowClient, list[Run]]:
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    return client, client.search_runs([experiment.experiment_id], max_results=1000)


@pytest.fixture(scope="module")
def halved(folder: Path) -> Report:
    """Six real trials by successive halving."""
    return go(folder, stub.sweep(folder, "halved", trials=6, scheduler=Asha(10, 2)), real=True)


def test_halving_trains_the_best_to_the_end_and_stops_the_others(halved: Report) -> None:
    steps = Counter(course.step for course in halved.courses)
    # One more where a better one comes to a rung after another went on from there.
    assert steps[40] in (1, 2) and steps[40] + steps[20] in (3, 4) and steps.total() == 6
    assert halved.best is not None and halved.best.step == 40
    assert halved.best.value(halved.objectives[0]) == max(
        course.value(halved.objectives[0]) for course in halved.courses if course.step == 40
    )


def test_a_trial_in_segments_ends_as_the_same_run_in_one_go_to_the_bit(folder: Path, halved: Report) -> None:
    assert halved.best is not None
    sweep, store = halved.sweep, open_store(str(folder / "storage"))
    point, origin = Answers(store, sweep.name).point(halved.best.run)
    assert not origin
    alone = run(turned(sweep.base, sweep.space, point), small.launch(folder), lambda message: None)
    trained = result(store, halved.best.run)
    assert trained is not None and alone.digest == trained.digest and alone.scores == trained.scores


def test_mlflow_has_one_parent_with_its_trials_below(folder: Path, halved: Report) -> None:
    client, runs = recorded(folder)
    (parent,) = [each for each in runs if each.info.run_name == "halved"]
    trials = [each for each in runs if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(each.info.run_name for each in trials) == [course.name for course in halved.courses]
    assert parent.data.params["space.weighting.gain.high"] == "4.0"
    assert parent.data.tags["jointdistill.budget.trials"] == "6"
    assert parent.data.metrics["steps"] == halved.steps_trained
    assert halved.best is not None and parent.data.tags["jointdistill.best"] == halved.best.run
    assert parent.data.metrics["best/delta_m"] == halved.best.value(halved.objectives[0])
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    pictures = {file.path for file in client.list_artifacts(parent.info.run_id, "pictures")}
    assert "sweep.md" in files
    assert pictures == {
        "pictures/importance-delta_m.png",
        "pictures/learning-curves.png",
        "pictures/parallel-coordinates.png",
    }
    for trial in trials:
        (course,) = [one for one in halved.courses if one.name == trial.info.run_name]
        whole = course.step == 40
        assert trial.info.status == ("FINISHED" if whole else "KILLED")
        assert trial.data.params["weighting.gain"] == str(course.point["weighting.gain"])
        assert trial.data.metrics["cost/seconds"] > 0 and trial.data.metrics["cost/teacher_s"] > 0
        series = [p.step for p in client.get_metric_history(trial.info.run_id, "gradient_norm")]
        assert series == [*range(10, course.step + 1, 10)]
        judged = [p.step for p in client.get_metric_history(trial.info.run_id, "val/segmentation/miou")]
        assert judged == [step for step in (10, 20, 40) if step <= course.step]


def test_the_best_student_is_registered_and_champion(folder: Path, halved: Report) -> None:
    client, runs = recorded(folder)
    champion = client.get_model_version_by_alias("best", "champion")
    (trained,) = [each for each in runs if each.info.run_id == champion.run_id]
    assert halved.best is not None and trained.info.run_name == halved.best.run


def test_a_sweep_that_is_started_again_computes_nothing_twice(folder: Path, halved: Report) -> None:
    before = {file: file.stat().st_mtime_ns for file in (folder / "storage/runs").rglob("*.safetensors")}
    again = go(folder, halved.sweep, real=True)
    assert [(one.name, one.point, one.curve) for one in again.courses] == [
        (one.name, one.point, one.curve) for one in halved.courses
    ]
    after = {file: file.stat().st_mtime_ns for file in (folder / "storage/runs").rglob("*.safetensors")}
    assert after == before
    _, runs = recorded(folder)
    assert sum(each.info.run_name == "halved" for each in runs) == 1
    assert (
        Counter(each.info.run_name for each in runs if "-0" in each.info.run_name).most_common(1)[0][1] == 1
    )


def test_a_population_goes_on_from_its_best_with_what_they_know(folder: Path) -> None:
    notes: list[str] = []
    sweep = stub.sweep(folder, "population", trials=4, scheduler=Pbt(every=10), seed=1)
    report = go(folder, sweep, notes, real=True)
    assert [course.step for course in report.courses] == [40] * 4
    cloned = [note for note in notes if "Going on from population-" in note]
    assert cloned and all(
        note.endswith("with its student, optimiser, weighting.") for note in cloned if "at-10:" not in note
    )
    _, runs = recorded(folder)
    there = {each.info.run_name: each for each in runs}
    for course in report.courses:
        if course.run != course.name:
            tags = there[course.run].data.tags
            assert tags["jointdistill.from"].startswith("population-")
            assert there[course.run].data.params["weighting.gain"] == str(course.point["weighting.gain"])
            origin, _, name = tags["jointdistill.from"].partition("@")
            assert name in Snapshots(open_store(str(folder / "storage")), origin).pinned()
    again = go(folder, sweep, real=True)
    assert [(one.run, one.point) for one in again.courses] == [(one.run, one.point) for one in report.courses]


@pytest.mark.parametrize(
    "scheduler",
    [Pbt(every=10), Asha(10, 2), *(pytest.param(each, marks=pytest.mark.slow) for each in (Pb2(10), Fifo()))],
)
def test_a_trial_that_diverges_is_told_once_and_holds_up_nobody(
    folder: Path, scheduler: SchedulerRecipe
) -> None:
    notes: list[str] = []
    name = f"diverging-{type(scheduler).__name__.lower()}"
    sweep = stub.sweep(folder, name, trials=4, scheduler=scheduler)

    def watch(message: Message) -> None:
        if isinstance(message, Note):
            notes.append(message.text)

    report = conduct(sweep, small.launch(folder), Share(), watch, stub.segment(f"{name}-001"))
    failed = [course for course in report.courses if course.failure]
    assert [course.failure for course in failed] == ["No gradient was finite."]
    assert sum("No gradient was finite" in note for note in notes) == 1
    assert report.best is not None and report.best.step == 40
    if not isinstance(scheduler, Asha):
        assert sorted(course.step for course in report.courses if not course.failure) == [40] * 3
    _, runs = recorded(folder)
    (diverged,) = [each for each in runs if each.info.run_name == failed[0].run]
    assert diverged.info.status == "FAILED"


def test_where_every_trial_fails_the_sweep_does(folder: Path) -> None:
    sweep = stub.sweep(folder, "failing", trials=1)
    with pytest.raises(Refusal, match="Every trial failed, the first one with: No gradient was finite"):
        conduct(sweep, small.launch(folder), Share(), lambda message: None, stub.segment("failing-000"))
    _, runs = recorded(folder)
    (parent,) = [each for each in runs if each.info.run_name == "failing"]
    assert parent.info.status == "FAILED"


@pytest.mark.parametrize(
    "raised", [Refusal("The disk is full: empty it."), NameError("name 'warp' is not defined")]
)
def test_what_a_trial_raises_is_told_in_its_own_words(folder: Path, raised: Exception) -> None:
    name = f"raising-{type(raised).__name__.lower()}"
    tries = folder / name

    def segment(work: Work, receive: Callable[[Message], None], sign: StopSign) -> Outcome | None:
        with tries.open("a") as told:
            told.write("again\n")
        raise raised

    sweep = stub.sweep(folder, name, trials=1)
    with (
        patch.object(tuning, "RESTARTS", 1),
        pytest.raises(Refusal, match=f"Every trial failed, the first one with: .*{raised}"),
    ):
        conduct(sweep, small.launch(folder), Share(), lambda message: None, segment)
    assert len(tries.read_text().split()) == (1 if isinstance(raised, Refusal) else 2)
    assert Answers(open_store(str(folder / "storage")), name).get(f"{name}-000", 40) is None  # asked again


@pytest.mark.timeout(200)
def test_trials_on_two_workers_take_turns_where_there_is_room_for_one(folder: Path) -> None:
    sweep = stub.sweep(folder, "wide", trials=2, scheduler=Asha(20, 2))
    report = conduct(sweep, replace(small.launch(folder), workers=2), Share(), lambda message: None)
    assert sorted(course.step for course in report.courses) == [20, 40]
    assert not any(course.failure for course in report.courses)
    assert report.best is not None
    assert result(open_store(str(folder / "storage")), report.best.run) is not None


def test_a_thinking_searcher_finds_a_front(folder: Path) -> None:
    names = ("segmentation/miou", "depth/abs_rel")
    report = go(folder, stub.sweep(folder, "front", trials=12, searcher=Tpe(4), objectives=names))
    assert len(report.courses) == 12 and report.front
    for one in report.front:
        assert not any(
            other.value(report.objectives[0]) > one.value(report.objectives[0])
            and other.value(report.objectives[1]) < one.value(report.objectives[1])
            for other in report.courses
        )


def test_more_trials_go_on_with_what_is_there(folder: Path) -> None:
    first = go(folder, stub.sweep(folder, "more", trials=3, searcher=Tpe(2)))
    more = go(folder, stub.sweep(folder, "more", trials=5, searcher=Tpe(2)))
    assert [one.point for one in more.courses[:3]] == [one.point for one in first.courses]
    assert len(more.courses) == 5


def test_a_used_up_budget_keeps_what_is_under_way_and_a_larger_one_goes_on(folder: Path) -> None:
    pretend = stub.segment()

    def endless(work: Work, receive: Callable[[Message], None], sign: StopSign) -> Outcome | None:
        """It lasts until it is asked to stop, and then keeps a snapshot half way."""
        sign.asked.wait()
        return pretend(replace(work, until=20), receive, sign)

    def take(hours: float, segment: Segment) -> Report:
        sweep = stub.sweep(folder, "short", trials=6, hours=hours)
        return conduct(sweep, small.launch(folder), Share(), lambda message: None, segment)

    # However long they took to begin.
    with patch.object(Ending, "_over_budget", lambda ending: len(ending._under_way()) == 2):
        first = take(1, endless)
    assert [course.name for course in first.courses if course.step] == []
    more = take(0, pretend)
    assert [course.step for course in more.courses] == [40] * 6
    assert [one.point for one in more.courses[: len(first.courses)]] == [one.point for one in first.courses]
    store = open_store(str(folder / "storage"))
    for name in ("short-000", "short-001"):  # what was under way went on from what it had kept
        bases = [claim.base for claim in Claims(store, name).all()]
        assert [base for base in bases if base is not None] == [0, 20]


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", [Pbt(10), Pb2(10)])
def test_a_population_that_is_interrupted_takes_the_same_decisions(
    tmp_path: Path, scheduler: SchedulerRecipe
) -> None:
    def take(folder: Path) -> dict[str, object]:
        report = go(folder, stub.sweep(folder, "members", trials=4, scheduler=scheduler))
        return {course.name: (course.run, course.point, course.curve) for course in report.courses}

    straight = take(tmp_path / "straight")
    assert any(".at-" in run for run, *_ in straight.values())  # there was something to decide
    halves = tmp_path / "halves"
    # In the second of four rounds.
    enough = lambda ending: sum(len(course.curve) for course in ending._ledger.courses) >= 6  # noqa: E731
    with patch.object(Ending, "_over_budget", enough):
        assert take(halves) != straight
    assert take(halves) == straight


def test_two_hundred_trials_are_recorded_once_each(tmp_path: Path) -> None:
    """In a driver of its own, whose memory is nobody else's."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.search.many", str(tmp_path), "200"],
        cwd=ROOT, env=alone() | {"PYTHONPATH": f"platform{os.pathsep}."}, text=True,
        capture_output=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["peak"] < 1.5e9
    assert len(told["steps"]) == 200
    client, runs = recorded(tmp_path)
    (parent,) = [each for each in runs if each.info.run_name == "many"]
    trials = [each for each in runs if each.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert Counter(each.info.run_name for each in trials) == dict.fromkeys(told["steps"], 1)
    for trial in trials:
        series = client.get_metric_history(trial.info.run_id, "loss/labels/depth")
        last = told["steps"][trial.info.run_name]
        assert [point.step for point in series] == [*range(10, last + 1, 10)]


def test_a_name_in_use_is_refused_with_the_difference(folder: Path, halved: Report) -> None:
    with pytest.raises(Refusal, match=r"'halved' exists and is another one: experiment\.seed is 1 here"):
        go(folder, replace(halved.sweep, seed=1))


def test_a_sweep_that_runs_elsewhere_is_left_alone(folder: Path) -> None:
    store = open_store(str(folder / "storage"))
    with (
        Hold(Claims(store, "busy"), Owner.here(), lambda sentence: None),
        pytest.raises(Refusal, match="'busy' is being trained by process"),
    ):
        go(folder, stub.sweep(folder, "busy", trials=2))


def test_a_trial_larger_than_the_cluster_is_refused(folder: Path) -> None:
    with pytest.raises(
        Refusal, match="A trial asks for 64 CPUs and no machine of the cluster has more than 2"
    ):
        conduct(
            stub.sweep(folder, "large", trials=2),
            small.launch(folder),
            Share(cpus=64),
            lambda message: None,
            stub.segment(),
        )


def test_answers_that_were_damaged_are_named(folder: Path, halved: Report) -> None:
    answers = Answers(open_store(str(folder / "storage")), "halved")
    key = folder / "storage/runs/halved/answers/halved-000@000000010.json"
    whole = key.read_bytes()
    key.write_text(json.dumps({"scores": {}}))
    with pytest.raises(Refusal, match=r"halved-000@000000010.json cannot be read .* delete it"):
        answers.get("halved-000", 10)
    key.write_bytes(whole)
    assert answers.get("halved-000", 10) is not None
