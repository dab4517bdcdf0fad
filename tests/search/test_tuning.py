"""What trials occupy and how many run at a time, on clusters made up; and when the budget is used up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest.mock import patch

import pytest

from jointdistill.launch.stop import StopSign
from jointdistill.search import tuning
from jointdistill.search.answers import Answers
from jointdistill.search.conduct import prepare
from jointdistill.search.ending import Ending
from jointdistill.search.estimate import estimate
from jointdistill.search.ledger import Ledger
from jointdistill.search.plan import Plan
from jointdistill.search.postbox import Postbox
from jointdistill.search.posts import Begun
from jointdistill.search.searchers.random import Random
from jointdistill.search.searchers.tpe import Tpe
from jointdistill.search.tuning import Share
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.engine import small
from tests.search import stub


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return prepare(stub.sweep(tmp_path, "fits", trials=8), small.launch(tmp_path), Share())[1]


def on_gpus(plan: Plan, share: Share, workers: int = 0) -> Plan:
    """The same sweep where trials train on CUDA."""
    work = plan.settled.work
    work = replace(work, launch=replace(work.launch, device="cuda", workers=workers))
    return replace(plan, settled=replace(plan.settled, work=work), gpus=workers or share.gpus)


def at_once(plan: Plan, share: Share, *nodes: dict[str, float]) -> int:
    told = [{"Alive": True, "Resources": resources} for resources in nodes]
    with patch("ray.nodes", return_value=[*told, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}]):
        return tuning._at_once(plan, share, most=8)


@pytest.mark.parametrize(
    ("share", "nodes", "expected"),
    [
        (Share(), [{"CPU": 2.0}], 2),
        (Share(cpus=2.0), [{"CPU": 3.0}, {"CPU": 4.0}], 3),  # no trial lies across machines
        (Share(cpus=0.5), [{"CPU": 2.0}], 4),
        (Share(at_once=3), [{"CPU": 16.0}], 3),
    ],
)
def test_cores_say_how_many_trials_run(
    plan: Plan, share: Share, nodes: list[dict[str, float]], expected: int
) -> None:
    assert at_once(plan, share, *nodes) == expected


@pytest.mark.parametrize(
    ("share", "nodes", "expected"),
    [
        (Share(), [{"CPU": 64.0, "GPU": 4.0}], 4),
        (Share(gpus=0.5), [{"CPU": 4.0, "GPU": 2.0}], 4),
        (Share(gpus=0.4), [{"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 1.0}], 4),
    ],
)
def test_gpus_say_how_many_trials_run(
    plan: Plan, share: Share, nodes: list[dict[str, float]], expected: int
) -> None:
    assert at_once(on_gpus(plan, share), share, *nodes) == expected


def test_trials_on_workers_may_lie_across_machines(plan: Plan) -> None:
    share = Share()
    assert at_once(on_gpus(plan, share, workers=3), share, {"GPU": 4.0}, {"GPU": 2.0}) == 2


def test_a_dry_run_counts_on_what_this_machine_has_room_for(tmp_path: Path) -> None:
    sweep = stub.sweep(tmp_path, "guessed", trials=3)
    with patch("jointdistill.search.estimate.cores", return_value=16):
        table = estimate(sweep, small.launch(tmp_path), Share(cpus=2.0))
    said = " ".join(str(cell) for column in table.columns for cell in column.cells)
    assert "with 3 trials at once" in said  # eight would have room, and there are three
    with patch("jointdistill.search.estimate.cores", return_value=4):
        table = estimate(sweep, small.launch(tmp_path), Share(cpus=2.0))
    assert "with 2 trials at once" in " ".join(str(cell) for column in table.columns for cell in column.cells)


def test_a_searcher_that_learns_waits_for_ends(tmp_path: Path) -> None:
    thinking = stub.sweep(tmp_path, "thinks", trials=16, searcher=Tpe())
    assert tuning.most_at_once(thinking) == 4
    assert tuning.most_at_once(replace(thinking, trials=2)) == 1
    assert tuning.most_at_once(replace(thinking, searcher=Random())) == 16


def test_half_a_gpu_is_what_a_trial_occupies(plan: Plan) -> None:
    share = Share(cpus=2.0, gpus=0.5)
    occupied = tuning._occupied(on_gpus(plan, share), share, at_once=4)
    assert occupied.bundles == [{"CPU": 2.0, "GPU": 0.5}]


def test_a_trial_that_finds_no_room_is_refused(plan: Plan) -> None:
    share = Share(gpus=2.0)
    with pytest.raises(Refusal, match="asks for 2 GPUs and no machine of the cluster has more than 1"):
        at_once(on_gpus(plan, share), share, {"GPU": 1.0}, {"GPU": 1.0})


class Box:
    """A postbox without an actor: who trains, for how many seconds, and whether they are asked to stop."""

    def __init__(self, training: dict[str, float]) -> None:
        self.runs, self.asked = training, False
        self.training = SimpleNamespace(remote=lambda: self.runs)
        self.stop = SimpleNamespace(remote=self._stop)
        self.forget = SimpleNamespace(remote=self._forget)

    def _stop(self) -> None:
        self.asked = True

    def _forget(self, trial: str) -> None:
        self.runs = {run: seconds for run, seconds in self.runs.items() if run != trial}


def ending(
    folder: Path,
    box: Box,
    spent: list[float],
    stopped_s: float = 0.0,
    **budget: float,
) -> Ending:
    """Of a sweep whose trials have half a GPU each and used these GPU-hours."""
    courses = [SimpleNamespace(name=f"other-{hours}", gpu_hours=hours, failure="") for hours in spent]
    ledger: Any = SimpleNamespace(courses=courses, seconds_unended=stopped_s)
    return Ending(stub.sweep(folder, "ends", trials=4, **budget), 0.5, ledger, StopSign(), box)


@pytest.fixture
def without_actors() -> Iterator[None]:
    with patch("ray.get", lambda answer: answer):
        yield


@pytest.mark.usefixtures("without_actors")
@pytest.mark.parametrize(
    ("spent", "under_way_s", "over"),
    [([0.2, 0.2], 0.0, False), ([0.2, 0.3], 0.0, True), ([0.4], 600.0, False), ([0.4], 900.0, True)],
)
def test_gpu_hours_end_a_sweep_when_all_trials_together_have_used_them(
    tmp_path: Path, spent: list[float], under_way_s: float, over: bool
) -> None:
    box = Box({"ends-000": under_way_s})
    ending(tmp_path, box, spent, gpu_hours=0.5).stop_all()
    assert box.asked is over
    box.asked = False
    ending(tmp_path, box, spent).stop_all()
    assert not box.asked  # no limit


@pytest.mark.usefixtures("without_actors")
@pytest.mark.parametrize("budget", [{"gpu_hours": 0.5}, {"hours": 1e-9}])
def test_a_budget_that_is_used_up_ends_a_sweep_once_everybody_has_kept_a_snapshot(
    tmp_path: Path, budget: dict[str, float]
) -> None:
    box = Box({"ends-000": 7200.0, "ends-001": 1.0})
    over = ending(tmp_path, box, [], **budget)
    assert not over.stop_all() and box.asked
    box.runs = {"ends-001": 1.0}
    assert not over.stop_all()
    box.runs = {}
    assert over.stop_all()


@pytest.mark.usefixtures("without_actors")
def test_what_an_earlier_start_spent_counts_though_it_was_stopped(tmp_path: Path) -> None:
    box = Box({})
    ending(tmp_path, box, [0.4], stopped_s=600.0, gpu_hours=0.5).stop_all()
    assert not box.asked
    ending(tmp_path, box, [0.4], stopped_s=900.0, gpu_hours=0.5).stop_all()
    assert box.asked


@pytest.mark.usefixtures("without_actors")
def test_a_trial_whose_process_was_lost_is_not_waited_for(tmp_path: Path) -> None:
    """It stands at the end of the queue, and those who have kept their snapshots hold its place."""
    over = ending(tmp_path, Box({"ends-001": 60.0}), [], hours=1e-9)
    assert not over.stop_all()
    over.on_trial_recover(iteration=1, trials=[], trial="ends-001")
    assert over.stop_all()


def test_a_postbox_forgets_all_runs_of_a_trial() -> None:
    box = Postbox()
    for run in ("ends-001", "ends-001.at-10", "ends-002"):
        box.put(Begun(run, None))  # type: ignore[arg-type]
    box.forget("ends-001")
    assert [*box.training()] == ["ends-002"]


class Spends:
    """A trial as Tune has it."""

    config: ClassVar = {"weighting.gain": 1.0, "weighting.temperature": 1.0}

    def __str__(self) -> str:
        return "spends-000"


def test_what_was_spent_is_counted_until_a_result_holds_it(tmp_path: Path) -> None:
    sweep = stub.sweep(tmp_path, "spends", trials=2)
    answers = Answers(open_store(str(tmp_path / "storage")), "spends")
    answers.spend("spends-000", 40, 3600.0)
    ledger = Ledger(answers, sweep.space, sweep.ranked_by, lambda sentence: None)
    trial = Spends()
    ledger.begin(trial)
    assert ledger.seconds_unended == 3600
    failed = {"step": 40, "run": "spends-000", "failure": "diverged", "gpu_hours": 1.1, "values": {}}
    ledger.on_trial_result(1, [], trial, failed)
    assert ledger.seconds_unended == 0
    ledger.recount()
    assert ledger.seconds_unended == 0
    (course,) = ledger.courses
    assert (course.step, course.gpu_hours, course.failure) == (0, 1.1, "diverged")
