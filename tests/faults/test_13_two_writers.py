"""Row 13: two jobs want one run. One of them trains it; the other is told who does, or what came of it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch.run import run
from jointdistill.store.objects import open_store
from tests.faults.two_writers import RUN, experiment, launch

ROOT = Path(__file__).parents[2]
STEPS = 60
REFUSED = (
    "error: The run '{run}' is being trained by process {pid} on {host}: wait for it, stop it, or choose"
)


@contextmanager
def started(folder: Path, barrier: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.two_writers", str(folder), str(barrier), str(STEPS)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"platform{os.pathsep}."},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    said, complaints = process.communicate(timeout=120)
    assert "Traceback" not in complaints, complaints
    return process.returncode, said, complaints


def refused_for(owner: subprocess.Popen[str]) -> str:
    return REFUSED.format(run=RUN, pid=owner.pid, host=socket.gethostname())


@pytest.fixture
def straight(tmp_path: Path) -> str:
    """The digest of a straight run's student; data are decoded and teachers scored by it."""
    return run(experiment(tmp_path, STEPS), launch(tmp_path, "straight"), lambda message: None).digest


def alone(folder: Path, digest: str) -> None:
    """There is one result, of one student, and no snapshot that is not its own."""
    store = open_store(str(folder / "storage"))
    assert [key for key in store.list(f"runs/{RUN}") if key.endswith("result.json")] == [
        f"runs/{RUN}/result.json"
    ]
    assert digest in store.get(f"runs/{RUN}/result.json").decode()
    snapshots = Snapshots(store, RUN)
    latest = snapshots.latest()
    assert latest is not None
    assert latest.step == STEPS
    assert snapshots.skipped == []
    assert not list(store.list(f"runs/{RUN}/alive"))


def test_row_13_the_second_is_refused_by_name_and_the_first_is_not_disturbed(
    tmp_path: Path, straight: str, record_property: Callable[[str, object], None]
) -> None:
    barrier = tmp_path / "barrier"
    barrier.touch()
    (tmp_path / "hold").touch()
    with started(tmp_path, barrier) as first:
        until = time.monotonic() + 60
        while not (tmp_path / f"training-{first.pid}").exists():
            assert time.monotonic() < until
            assert first.poll() is None
            time.sleep(0.02)
        with started(tmp_path, barrier) as second:
            code, _, complaints = ended(second)
            assert code == 2, complaints
            assert complaints.splitlines()[-1].startswith(refused_for(first))
            assert not (tmp_path / f"training-{second.pid}").exists()
        (tmp_path / "hold").unlink()
        assert ended(first)[:2] == (0, f"{straight}\n")
    alone(tmp_path, straight)
    record_property("lost", "nothing: the second was refused, with exit code 2")
    record_property("recomputed", "nothing")


def test_row_13_two_that_start_together_end_with_one_student(
    tmp_path: Path, straight: str, record_property: Callable[[str, object], None]
) -> None:
    barrier = tmp_path / "barrier"
    with started(tmp_path, barrier) as one, started(tmp_path, barrier) as other:
        until = time.monotonic() + 60
        while not all((tmp_path / f"ready-{process.pid}").exists() for process in (one, other)):
            assert time.monotonic() < until
            time.sleep(0.02)
        barrier.touch()
        ends = {process.pid: ended(process) for process in (one, other)}
        for process, rival in ((one, other), (other, one)):
            code, said, complaints = ends[process.pid]
            if code == 2:
                assert complaints.splitlines()[-1].startswith(refused_for(rival))
            else:  # it trained, or found what the other had finished
                assert (code, said) == (0, f"{straight}\n"), complaints
    codes = sorted(code for code, *_ in ends.values())
    assert codes in ([0, 2], [0, 0])
    trained = [process for process in ends if (tmp_path / f"training-{process}").exists()]
    assert len(trained) == 1
    alone(tmp_path, straight)
    record_property("lost", f"nothing: exit codes {codes}, one trained")
    record_property("recomputed", "nothing")
