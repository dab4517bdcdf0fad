"""A Ray head of a test's own: own ports, own token, own folder, ended by its process id."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psutil

from tests.engine.server import free_port

BIN = Path(sys.executable).parent


@contextmanager
def head(
    cpus: int = 2,
    environment: Mapping[str, str] = MappingProxyType({}),
    grows: Callable[[int], Path] | None = None,
) -> Iterator[dict[str, str]]:
    """A head for as long as the block lasts; gives the environment of who submits to it.

    `grows` writes the configuration of an autoscaler for a head at this port, and gives the file.
    """
    port, dashboard = free_port(), free_port()
    environment = {
        **alone(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), **environment
    }  # fmt: skip
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", f"--num-cpus={cpus}",
        f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
    ]  # fmt: skip
    if grows:
        command += [f"--autoscaling-config={grows(port)}", "--node-ip-address=127.0.0.1"]
    # Short, because the path of a socket below it may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="jd-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "head.log"
        with log.open("w") as said:
            process = subprocess.Popen(
                [*command, f"--temp-dir={folder}/ray"], env=environment, stdout=said, stderr=said
            )
        try:
            environment |= {"RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard}"}
            _wait_for("/api/version", environment, process, log)
            yield environment
        finally:
            _end(process)


def alone() -> dict[str, str]:
    """This process's environment without anything that leads to another Ray, MLflow or storage."""
    ours = ("RAY_", "MLFLOW_", "JOINTDISTILL_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    quiet = {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
    return kept | quiet | {"PATH": f"{BIN}:{os.environ['PATH']}"}


def asked(page: str, environment: Mapping[str, str]) -> bytes:
    """What a page of the head's dashboard says, such as /api/version."""
    address = f"{environment['RAY_API_SERVER_ADDRESS']}{page}"
    token = {"Authorization": f"Bearer {environment['RAY_AUTH_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(address, headers=token), timeout=5) as reply:
        content: bytes = reply.read()
        return content


def _wait_for(
    page: str, environment: dict[str, str], process: subprocess.Popen[bytes], log: Path, seconds: float = 90
) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()
        try:
            asked(page, environment)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(log.read_text())


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the head and all that it started."""
    if process.poll() is not None:
        return
    ours = psutil.Process(process.pid)
    family = [*ours.children(recursive=True), ours]
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=5)
    for left in alive:
        left.kill()
    process.wait(20)
