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


def submit(
    environment: dict[str, str], *arguments: str, flags: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "jobs/submit.py", *flags, "--", "jobs/distill.py", "scenes", *arguments]
    return run(command, environment)


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=200, check=False
    )


def test_a_job_ends_with_its_own_exit_code(cluster: dict[str, str], flags: list[str]) -> None:
    submitted = submit(cluster, *flags, "--storage", "storage")
    assert submitted.returncode == 2
    assert "error: --storage storage is relative" in submitted.stdout
    assert "Traceback" not in submitted.stdout + submitted.stderr


def test_the_same_command_is_one_job_while_it_runs_and_the_next_one_after_it(
    cluster: dict[str, str], flags: list[str], tmp_path: Path
) -> None:
    told = [*flags, "--storage", f"{tmp_path}/storage", "--run", "mine"]
    first = submit(cluster, *told, flags=("--name", "mine", "--no-wait"))
    again = submit(cluster, *told, flags=("--name", "mine"))
    finished = submit(cluster, *told, flags=("--name", "mine"))
    assert first.stdout.startswith("Submitted mine. To stop it, with a snapshot: ray job stop mine\n")
    assert again.stdout.startswith("mine is running already: following it.\n")
    assert finished.stdout.startswith("Submitted mine-2.")
    assert "mine is finished already" in finished.stdout
    assert [each.returncode for each in (first, again, finished)] == [0, 0, 0], again.stdout + again.stderr


def test_it_is_stopped_where_it_was_submitted_whatever_the_environment_says(
    cluster: dict[str, str], flags: list[str]
) -> None:
    elsewhere = {**cluster, "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:9"}
    here = ("--address", cluster["RAY_API_SERVER_ADDRESS"], "--name", "there", "--no-wait")
    submitted = submit(elsewhere, *flags, "--storage", "storage", flags=here)
    _, command = submitted.stdout.split("with a snapshot: ")
    stopped = run(["sh", "-c", command], elsewhere)
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert "Attempting to stop job 'there'" in stopped.stdout


def test_without_the_token_nothing_is_submitted(cluster: dict[str, str]) -> None:
    refused = submit({name: value for name, value in cluster.items() if name != "RAY_AUTH_TOKEN"})
    assert refused.returncode == 2
    assert "asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "http://127.0.0.1:9", "--", "jobs/distill.py"], "No cluster answers at"),
        (["--address", "127.0.0.1:8265", "--", "jobs/distill.py"], "is no such address"),
        (["--", "jobs/none.py"], "'jobs/none.py' is no job of this folder"),
        (["--", "README.md"], "'README.md' is no job of this folder"),
        (["--cpus", "-1", "--", "jobs/distill.py"], "cannot be below 0"),
        (["--name", "a/b", "--", "jobs/distill.py"], "--name 'a/b' is no name: use letters, digits"),
        ([], "Nothing to submit: write the command after --"),
    ],
)
def test_what_cannot_be_submitted_is_said_in_one_sentence(words: list[str], said: str) -> None:
    refused = run([sys.executable, "jobs/submit.py", *words], alone())
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


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
