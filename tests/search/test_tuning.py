"""What trials occupy and how many run at a time, on clusters made up; and when the budget is used up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from jointdistill.launch.stop import StopSign
from jointdistill.search import tuning
from jointdistill.search.conduct import prepare
from jointdistill.search.ending import Ending
from jointdistill.search.plan import Plan
from jointdistill.search.tuning import Share
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
        return tuning._at_once(plan, share, trials=8)


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


def test_half_a_gpu_is_what_a_trial_occupies(plan: Plan) -> None:
    share = Share(cpus=2.0, gpus=0.5)
    occupied = tuning._occupied(on_gpus(plan, share), share, at_once=4)
    assert occupied.bundles == [{"CPU": 2.0, "GPU": 0.5}]


def test_a_trial_that_finds_no_room_is_refused(plan: Plan) -> None:
    share = Share(gpus=2.0)
    with pytest.raises(Refusal, match="asks for 2 GPUs and no machine of the cluster has more than 1"):
        at_once(on_gpus(plan, share), share, {"GPU": 1.0}, {"GPU": 1.0})


@pytest.mark.parametrize(("spent", "over"), [([0.2, 0.2], False), ([0.2, 0.3], True)])
def test_gpu_hours_end_a_sweep_when_all_trials_together_have_used_them(
    spent: list[float], over: bool
) -> None:
    ledger: Any = SimpleNamespace(courses=[SimpleNamespace(gpu_hours=hours) for hours in spent])
    assert Ending(0.5, ledger, StopSign(), None).stop_all() is over
    assert Ending(0.0, ledger, StopSign(), None).stop_all() is False  # no limit
