"""A saved network is scored as it was at the end of its training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from jobs import evaluate
from jointdistill.launch.worker import live
from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import Model, save
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from tests.engine import small
from tests.engine.tracked import write
from tests.jobs.order import Refused


def test_scores_are_those_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    work = small.work(tmp_path)
    outcome = live(work, lambda message: None)
    order = [
        *("--model", f"{work.storage}/runs/{work.run}/model", "--data", work.data),
        *("--cache", work.launch.cache, "--output", f"{tmp_path}/deep/scores.json"),
    ]
    evaluate.main(order)
    said = json.loads((tmp_path / "deep" / "scores.json").read_text())
    assert said["scores"] == pytest.approx(outcome.scores)
    assert (said["digest"], said["fingerprint"]) == (outcome.digest, work.card.fingerprint)
    assert (said["split"], said["images"], said["parameters"]) == ("val", 6, outcome.parameters)
    assert said["counted"]["depth"] == [*Depth().counted]  # scores of another range do not compare
    assert f"{outcome.scores['depth/abs_rel']:.3f}" in capsys.readouterr().out
    assert "is there already" in refused(evaluate.main, *order)


def test_a_model_of_other_classes(refused: Refused, tmp_path: Path) -> None:
    small.experiment(tmp_path)
    tasks = {"segmentation": Segmentation(("ground", "tree"))}
    recipe = Joint(width=4, decoder=8)
    other = write(
        save(Model(recipe, tasks, *small.SIZE), recipe.build(tasks).state_dict()), tmp_path / "other"
    )
    data = ("--data", f"{tmp_path}/storage/data/small", "--cache", f"{tmp_path}/cache")
    assert "knows 2 classes" in refused(evaluate.main, "--model", str(other), *data)
    mine = f"{tmp_path}/teachers/segmentation"
    assert "has no split 'test'" in refused(evaluate.main, "--model", mine, *data, "--split", "test")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there(refused: Refused, tmp_path: Path) -> None:
    small.experiment(tmp_path)
    mine = f"{tmp_path}/teachers/segmentation"
    said = refused(
        evaluate.main, "--model", mine, "--data", f"{tmp_path}/storage/data/small", "--device", "cuda"
    )
    assert "sees no CUDA device" in said
