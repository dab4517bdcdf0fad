"""A job computes the same submitted to a cluster and run at home."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.head import alone, head

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with head() as environment:
        yield environment


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a run of seconds, on data and teachers that lie outside every storage."""
    return small_flags(tmp_path_factory.mktemp("submitted"))


def submit(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        "ray",
        "job",
        "submit",
        "--working-dir",
        ".",
        "--runtime-env",
        "cluster/runtime-env.yaml",
        "--",
    ]
    job = ["python", "jobs/distill.py", "scenes", *arguments]
    return subprocess.run(
        [*command, *job], cwd=ROOT, env=environment, text=True, capture_output=True, timeout=200
    )


def test_a_relative_storage_is_refused(cluster: dict[str, str], flags: list[str]) -> None:
    submitted = submit(cluster, *flags, "--storage", "storage")
    assert submitted.returncode != 0
    assert "error: --storage storage is relative" in submitted.stdout
    assert "exit code 2" in submitted.stdout + submitted.stderr
    assert "Traceback" not in submitted.stdout


def test_submitted_it_ends_as_at_home(cluster: dict[str, str], flags: list[str], tmp_path: Path) -> None:
    submitted = submit(cluster, *flags, "--storage", f"{tmp_path}/there", "--workers", "1")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    home = subprocess.run(
        [sys.executable, "jobs/distill.py", "scenes", *flags, "--storage", f"{tmp_path}/home", "--workers", "0"],
        cwd=ROOT, env=alone(), text=True, capture_output=True, timeout=200,
    )  # fmt: skip
    assert home.returncode == 0, home.stdout + home.stderr
    there, here = (_result(tmp_path / place) for place in ("there", "home"))
    assert there["digest"] == here["digest"]
    assert there["scores"] == here["scores"]


def _result(storage: Path) -> dict[str, object]:
    (file,) = storage.glob("runs/*/result.json")
    return dict(json.loads(file.read_text()))
