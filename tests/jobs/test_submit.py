"""A job computes the same submitted to a cluster and run at home."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.head import alone, head
from tests.jobs.order import small_flags

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
    command = "ray job submit --working-dir . --runtime-env cluster/runtime-env.yaml --"
    return run([*command.split(), "python", "jobs/distill.py", "scenes", *arguments], environment)


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=200, check=False
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
    job = [sys.executable, "jobs/distill.py", "scenes"]
    home = run([*job, *flags, "--storage", f"{tmp_path}/home", "--workers", "0"], alone())
    assert home.returncode == 0, home.stdout + home.stderr
    there, here = (_result(tmp_path / place) for place in ("there", "home"))
    assert there["digest"] == here["digest"]
    assert there["scores"] == here["scores"]


def _result(storage: Path) -> dict[str, object]:
    (file,) = storage.glob("runs/*/result.json")
    return dict(json.loads(file.read_text()))
