"""Runs and sweeps on a GPU, through a Ray of their own: `pytest -m gpu` where there is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jointdistill.launch.run import run
from jointdistill.launch.work import Message, Outcome
from jointdistill.search.conduct import conduct
from jointdistill.search.tuning import Share
from jointdistill.types import StepReport
from tests.engine import small
from tests.search import stub

pytestmark = [pytest.mark.gpu, pytest.mark.ray]


def trained(folder: Path, device: str, workers: int) -> tuple[Outcome, dict[str, float]]:
    said: dict[str, float] = {}

    def note(message: Message) -> None:
        if isinstance(message, StepReport):
            said.update({f"{message.step} {name}": value for name, value in message.metrics.items()})

    launch = replace(small.launch(folder), device=device, workers=workers, run=f"{device}-{workers}")
    return run(small.experiment(folder), launch, note), said


def test_a_ray_worker_on_a_gpu_reports_the_losses_of_the_cpu(tmp_path: Path) -> None:
    _, on_cpu = trained(tmp_path, "cpu", 0)
    outcome, on_gpu = trained(tmp_path, "cuda", 1)
    losses = {point: value for point, value in on_cpu.items() if "loss/" in point}
    assert losses and outcome.images_per_s > 0
    for point, value in losses.items():
        assert on_gpu[point] == pytest.approx(value, rel=2e-2, abs=1e-3), point


def test_two_trials_share_a_gpu(tmp_path: Path) -> None:
    launch = replace(small.launch(tmp_path), device="cuda")
    sweep = stub.sweep(tmp_path, "shared", trials=4)
    report = conduct(sweep, launch, Share(gpus=0.5), lambda message: None)
    assert [course.step for course in report.courses] == [40] * 4
    assert all(course.gpu_hours > 0 for course in report.courses)
