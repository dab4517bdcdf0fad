"""The exported model answers like the network it was made of, at the size it was asked."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow.exceptions import MlflowException

from jointdistill.nets.saved import DESCRIPTION, load, read_description
from jointdistill.student.export import REQUIRED, export, requirements
from tests.engine.tracked import saved, with_way


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "student"
    files = with_way(saved())
    export(read_description(files[DESCRIPTION], "student"), files, folder)
    return folder


def test_it_answers_like_the_network(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), np.uint8)
    said = mlflow.pyfunc.load_model(str(folder)).predict(images)
    _, network = load(saved(), "reference")
    network.eval()
    with torch.inference_mode():
        expected = network(torch.from_numpy(images).movedim(-1, 1) / 255)
    depth = torch.nn.functional.interpolate(expected.answers["depth"], (16, 24), mode="bilinear")[:, 0]
    np.testing.assert_allclose(said["depth"], depth.numpy(), rtol=1e-5)
    assert said["labels"].shape == (2, 16, 24)


def test_it_answers_at_the_size_of_the_images(folder: Path) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    small = model.predict(np.full((1, 16, 24, 3), 90, np.uint8))
    large = model.predict(np.full((1, 32, 48, 3), 90, np.uint8))
    assert large["depth"].shape == large["labels"].shape == (1, 32, 48)
    # A plain image looks the same at any size, so its depth must be the same.
    assert large["depth"].mean() == pytest.approx(small["depth"].mean(), rel=1e-2)


def test_its_signature_says_what_goes_in_and_out(folder: Path) -> None:
    signature = mlflow.models.get_model_info(str(folder)).signature
    assert [(spec.type, spec.shape) for spec in signature.inputs] == [(np.uint8, (-1, -1, -1, 3))]
    assert [(spec.name, spec.type, spec.shape) for spec in signature.outputs] == [
        ("depth", np.float32, (-1, -1, -1)),
        ("labels", np.int64, (-1, -1, -1)),
    ]


def test_other_input_is_refused_by_the_signature(folder: Path) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    with pytest.raises(MlflowException, match="dtype"):
        model.predict(np.zeros((1, 16, 24, 3), np.float64))
    with pytest.raises(MlflowException, match=r"Shape of input"):
        model.predict(np.zeros((1, 3, 16, 24), np.uint8))


def test_its_requirements_are_few_and_pinned(folder: Path) -> None:
    pinned = (folder / "requirements.txt").read_text().split()
    assert pinned == requirements()
    assert [line.partition("==")[0] for line in pinned] == list(REQUIRED)
    assert f"safetensors=={version('safetensors')}" in pinned
    assert not any("+" in line for line in pinned)


def test_it_carries_the_way(folder: Path) -> None:
    assert (folder / "artifacts" / "model" / "anchors" / "index.json").is_file()
