"""A published model: its files, its champion, and what a process that never saw the run makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from jointdistill.engine.registry import Published, champion, publish
from jointdistill.engine.tracking import Tracking
from jointdistill.store.registry import model_files
from jointdistill.types import Refusal
from tests.engine.server import elsewhere, free_port, served
from tests.engine.tracked import saved, subject, track, with_way

BETTER = {"depth/abs_rel": 0.15, "segmentation/miou": 0.52}
LOPSIDED = {"depth/abs_rel": 0.10, "segmentation/miou": 0.45}

ASK = """
import sys
import mlflow, numpy as np
model = mlflow.pyfunc.load_model("models:/student@champion")
images = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), np.uint8)
answers = model.predict(images)
import jointdistill
print(jointdistill.__file__)
np.savez(sys.argv[1], **answers)
"""


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    return track(tmp_path_factory.mktemp("registry"))


@pytest.fixture(scope="module")
def first(tracking: Tracking) -> Published:
    with tracking.open("demo-1", subject()) as run:
        return publish(run, "student", with_way(saved()))


def test_a_version_holds_its_files_and_no_pickle(tracking: Tracking, first: Published) -> None:
    assert first[:2] == ("student", "1")
    assert model_files("models:/student/1", tracking.address) == with_way(saved())
    folder = Path(tracking.address.removeprefix("sqlite:///")).parent / "artifacts" / "models"
    written = [file for file in folder.rglob("*") if file.is_file()]
    assert {"MLmodel", "served.py", "weights.safetensors", "saved.py"} <= {file.name for file in written}
    for file in written:
        head = file.read_bytes()[:4]
        # A pickle of protocol 2 or later begins with 0x80, an archive that may hide one with PK.
        assert not head.startswith((b"\x80", b"PK")), file
        assert file.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".joblib"}, file


def test_a_run_that_goes_on_finds_its_version_again(tracking: Tracking, first: Published) -> None:
    run = tracking.open("demo-1", subject())
    again = publish(run, "student", with_way(saved()))
    assert again[:2] == first[:2]


def test_the_alias_moves_to_the_better_and_not_to_the_lopsided(tracking: Tracking) -> None:
    for seed, scores in enumerate([{}, LOPSIDED, BETTER], start=10):
        run = tracking.open(f"demo-{seed}", subject(seed))
        files = saved(seed, scores) if scores else saved(seed)
        said = publish(run, "contest", files)
        assert said.verdict.champion == (scores is not LOPSIDED), said
        tags = run.client.get_model_version("contest", said.version).tags
        assert tags["jointdistill.verdict"] == said.verdict.reason
    best = champion("contest", tracking.address)
    assert best is not None
    assert best.scores == BETTER
    assert champion("nobody", tracking.address) is None


@pytest.mark.parametrize("address", ["models:/student", "models:/student/latest", "student@champion"])
def test_what_is_no_address_is_refused(tracking: Tracking, address: str) -> None:
    with pytest.raises(Refusal, match="no address of a model"):
        model_files(address, tracking.address)


def test_a_fresh_process_loads_the_champion(tracking: Tracking, first: Published, tmp_path: Path) -> None:
    answers = tmp_path / "answers.npz"
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(answers)],
        cwd=tmp_path, env=elsewhere(tracking.address), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert "/code/jointdistill/" in asked.stdout  # the copy that lies with the model
    with np.load(answers) as said:
        assert (said["depth"].shape, said["depth"].dtype) == ((2, 30, 40), np.float32)
        assert (said["labels"].shape, said["labels"].dtype) == ((2, 30, 40), np.int64)
        assert said["depth"].min() > 0
        assert set(np.unique(said["labels"])) <= {0, 1, 2}


def test_mlflow_serves_the_champion(tracking: Tracking, first: Published, tmp_path: Path) -> None:
    port = free_port()
    command = ["mlflow", "models", "serve", "-m", "models:/student@champion", "--env-manager", "local"]
    with served([*command, "--port", str(port)], f"http://127.0.0.1:{port}/ping", tracking.address, tmp_path):
        images = np.zeros((1, 20, 24, 3), np.uint8)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"inputs": images.tolist()}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            said = json.load(response)["predictions"]
    assert np.shape(said["depth"]) == np.shape(said["labels"]) == (1, 20, 24)
