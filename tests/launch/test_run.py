"""A run from the driver's side, in this process and under a Ray of its own."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from mlflow import MlflowClient

from jointdistill.launch import train as training
from jointdistill.launch import worker as working
from jointdistill.launch.run import run
from jointdistill.launch.work import Note
from jointdistill.types import Refusal, StepReport
from tests.engine import small

ROOT = Path(__file__).parents[2]

worker = training._worker


def silent(message: object) -> None:
    """Nobody watches."""


def losses(folder: Path, workers: int) -> dict[tuple[int, str], float]:
    said = {}

    def note(message: object) -> None:
        if isinstance(message, StepReport):
            found = {name: value for name, value in message.metrics.items() if name.startswith("loss/")}
            said.update({(message.step, name): value for name, value in found.items()})

    launch = replace(small.launch(folder), workers=workers, run=f"with-{workers}")
    run(small.experiment(folder), launch, note)
    return said


def only_run(folder: Path):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("small")
    (found,) = client.search_runs([experiment.experiment_id])
    return client, found


def test_a_finished_run_is_found_again_and_fresh_runs_it_anew(tmp_path):
    notes = []
    first = run(small.experiment(tmp_path), small.launch(tmp_path), silent)
    again = run(small.experiment(tmp_path), small.launch(tmp_path), notes.append)
    assert again == first
    assert [type(note) for note in notes] == [Note] and "--fresh" in notes[0].text
    fresh = run(small.experiment(tmp_path), replace(small.launch(tmp_path), fresh=True), notes.append)
    assert fresh.digest == first.digest  # the same run on the same machine, trained twice
    assert any(isinstance(note, StepReport) for note in notes)


def test_a_name_in_use_by_another_experiment_is_refused_with_the_difference(tmp_path):
    launch = replace(small.launch(tmp_path), run="mine")
    run(small.experiment(tmp_path), launch, silent)
    other = replace(small.experiment(tmp_path), seed=7)
    with pytest.raises(Refusal, match=r"'mine' exists .* experiment\.seed is 7 here and 0 there"):
        run(other, launch, silent)


def test_a_name_never_hands_out_another_experiments_result(tmp_path):
    """Both are finished, one of them under a name of its own."""
    mine = small.experiment(tmp_path)
    other = replace(mine, seed=7)
    run(mine, small.launch(tmp_path), silent)
    run(other, replace(small.launch(tmp_path), run="other"), silent)
    with pytest.raises(Refusal, match="'other' exists and is another one"):
        run(mine, replace(small.launch(tmp_path), run="other"), silent)


def test_a_finished_run_is_registered_when_somebody_asks_for_it(tmp_path):
    experiment, launch = small.experiment(tmp_path), small.launch(tmp_path)
    run(experiment, launch, silent)
    notes = []
    for _ in range(2):
        run(experiment, replace(launch, register="late"), notes.append)
    said = [note.text for note in notes if "Registered" in note.text]
    assert said == ["Registered models:/late/1, champion: It is the first version."] * 2


def test_mlflow_has_one_point_a_report_and_the_whole_experiment(tmp_path):
    outcome = run(small.experiment(tmp_path), small.launch(tmp_path), silent)
    client, found = only_run(tmp_path)
    assert found.info.status == "FINISHED"
    assert found.data.params["weighting.recipe"] == "Competence"
    assert {
        "jointdistill.identity",
        "jointdistill.data",
        "jointdistill.teacher.depth",
    } <= found.data.tags.keys()
    history = client.get_metric_history(found.info.run_id, "loss/labels/depth/supervised")
    assert [point.step for point in history] == [10, 20]
    assert found.data.metrics["val/depth/abs_rel"] == pytest.approx(outcome.scores["depth/abs_rel"])
    assert [item.path for item in client.list_artifacts(found.info.run_id, "pictures")]


@pytest.mark.ray
def test_ray_workers_report_the_losses_of_this_process(tmp_path):
    alone, together = losses(tmp_path, workers=0), losses(tmp_path, workers=2)
    assert os.environ["RAY_AUTH_MODE"] == "token"  # nobody else could have joined
    assert together.keys() == alone.keys()
    for point, value in alone.items():
        assert together[point] == pytest.approx(value, rel=1e-4, abs=1e-6), point


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.ray)])
def test_ctrl_c_ends_cleanly_and_the_record_says_killed(tmp_path, workers):
    small.experiment(tmp_path)  # data and teachers
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.launch.interrupted", str(tmp_path), str(workers)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"platform{os.pathsep}."},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "training"
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 130, complaints
    assert "goes on from" in complaints
    assert "Traceback" not in complaints
    _, found = only_run(tmp_path)
    assert found.info.status == "KILLED"


class Odd(Exception):
    """A foreign exception that cannot be built from its own arguments, and so does not survive a pickle."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} {other}")


def odd_worker(config: dict[str, object]) -> object:
    with patch.object(working, "live", side_effect=Odd("no", "luck")):
        return worker(config)


@pytest.mark.ray
def test_a_failure_that_cannot_travel_is_told_in_words(tmp_path):
    launch = replace(small.launch(tmp_path), workers=1)
    with (
        patch.object(training, "_worker", odd_worker),
        pytest.raises(RuntimeError, match="Odd: no luck") as failed,
    ):
        run(small.experiment(tmp_path), launch, silent)
    assert "On rank 0:\nTraceback" in failed.value.__notes__[0]
