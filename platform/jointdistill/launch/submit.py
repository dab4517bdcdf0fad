"""A command handed to a cluster as a job: once, watched to its end, and with its exit code."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, cast

import tyro
import yaml

from jointdistill.engine.lineage import code_digest
from jointdistill.types import Refusal, refuse_odd_name

ROOT = Path(__file__).parents[3]
RUNTIME_ENV = ROOT / "cluster" / "runtime-env.yaml"
WITHOUT_A_CODE = {"SUCCEEDED": 0, "STOPPED": 143}
"""Exit codes where Ray has none of the driver; else 1."""
CODE = "jointdistill.code"
"""What Ray is told of a job beside its command."""
POLL_S = 0.5

Show = Callable[[str], object]


@dataclass(frozen=True)
class Submission:
    """What is submitted, and how."""

    command: tyro.conf.Suppress[tuple[str, ...]] = ()
    """As at home: `jobs/distill.py scenes --workers 8`."""
    address: str = ""
    """The dashboard of the cluster's head, http://HEAD:8265; empty: RAY_API_SERVER_ADDRESS."""
    name: str = ""
    """Name of the job; empty: made of the command. One name runs once at a time."""
    cpus: float = 0.0
    """Cores that the driver asks for: with 0 it runs on the head, else on a worker, perhaps a spot one."""
    memory_gb: float = 0.0
    """Memory that the driver asks for."""
    wait: bool = True
    """Follow the job to its end; --no-wait comes back once it is submitted."""

    @property
    def job(self) -> str:
        """The job's name, the same for the same command."""
        said = hashlib.sha256("\0".join(self.command).encode()).hexdigest()[:8]
        words = [Path(self.command[0]).stem, *self.command[1:2]]
        shown = " ".join(word for word in words if not word.startswith("-"))
        # Ray names a file after the job: with a slash in its name it would stay PENDING for ever.
        return self.name or "-".join([*re.findall(r"[\w.-]+", shown), said])

    @property
    def entrypoint(self) -> str:
        """The command line of the driver."""
        return shlex.join(["python", *self.command])

    def to(self, do: str, name: str) -> str:
        """The command that does something with a job of this cluster, from the same shell."""
        # Not as --address: Ray prefers what the environment says.
        there = f"RAY_API_SERVER_ADDRESS={shlex.quote(self.address)} " if self.address else ""
        return f"{there}ray job {do} {name}"


def submit(submission: Submission, show: Show) -> int:
    """Submit a command, or find the job that already runs it, and follow it: its exit code.

    That is 128 + N where signal N killed the driver, as shells say it. Raises `Refusal` where the cluster
    does not answer or refuses.
    """
    _refuse_unfit(submission)
    client = _client(submission.address)
    with _losses_in_words(submission.job):
        name, runs = _attempt(client, submission.job)
        if not runs and _hand_over(client, submission, name):
            show(f"Submitted {name}. To stop it, with a snapshot: {submission.to('stop', name)}\n")
        else:
            _refuse_other_code(client, submission, name)
            show(f"{name} is running already: following it.\n")
        if not submission.wait:
            return 0
        try:
            asyncio.run(_follow(client, name, show))
        except KeyboardInterrupt:
            show(
                f"\n{name} goes on: the same command follows it again, and `{submission.to('stop', name)}` "
                "ends it.\n"
            )
            return 130
        return _exit_code(client, name, show)


@contextmanager
def _losses_in_words(name: str) -> Iterator[None]:
    """Whatever a network has to offer, as one sentence."""
    from aiohttp import ClientError
    from ray.exceptions import RayError

    try:
        yield
    except BrokenPipeError:
        raise  # of whoever reads what we show
    except (OSError, RuntimeError, RayError, ClientError) as lost:
        raise Refusal(
            f"Lost sight of {name} ({lost}): the same command follows it again, or goes on from its last "
            "snapshot where it is gone."
        ) from lost


def _refuse_unfit(submission: Submission) -> None:
    if not submission.command:
        raise Refusal("Nothing to submit: write the command after --, such as -- jobs/distill.py scenes.")
    script = submission.command[0]
    if not script.startswith("jobs/") or not (ROOT / script).is_file():
        raise Refusal(f"'{script}' is no job of this folder: name one of jobs/, such as jobs/distill.py.")
    if min(submission.cpus, submission.memory_gb) < 0:
        raise Refusal("--cpus and --memory-gb cannot be below 0.")
    if submission.name:
        refuse_odd_name("--name", submission.name)
    if any(re.search(r"://[^/@\s]+@", word) for word in submission.command):
        raise Refusal(
            "The command holds a password, which Ray shows to all who see its jobs: keep it on the head, as "
            "cluster/README.md says."
        )


def _client(address: str) -> Any:
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    where = address or os.environ.get("RAY_API_SERVER_ADDRESS", "")
    if not where.startswith(("http://", "https://")):
        raise Refusal(
            "Which cluster? Give --address http://HEAD:8265, or set RAY_API_SERVER_ADDRESS; "
            f"'{where}' is no such address."
        )
    os.environ["RAY_API_SERVER_ADDRESS"] = where  # Ray prefers it to what it is told
    try:
        return JobSubmissionClient(where)
    except AuthenticationError as refused:
        raise Refusal(
            f"The cluster at {where} asks for its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or "
            "RAY_AUTH_TOKEN_PATH to a file with it."
        ) from refused
    except (OSError, RuntimeError) as away:
        raise Refusal(
            f"No cluster answers at {where}: start it, or correct --address (the dashboard's port, 8265)."
        ) from away


def _attempt(client: Any, name: str) -> tuple[str, bool]:
    """The job's name, with a number from its second attempt on; and whether it runs already."""
    known = {job.submission_id: job.status for job in client.list_jobs()}
    for number in count(1):
        candidate = name if number == 1 else f"{name}-{number}"
        if candidate not in known:
            return candidate, False
        if not known[candidate].is_terminal():
            return candidate, True
    raise AssertionError("count() has no end")


def _refuse_other_code(client: Any, submission: Submission, name: str) -> None:
    """Raises `Refusal` where a colleague's job, or an earlier one, only has the same command."""
    metadata = next(job.metadata for job in client.list_jobs() if job.submission_id == name) or {}
    if metadata.get(CODE, _code()) != _code():
        raise Refusal(
            f"{name} is running already, with other code than what lies here: follow it with "
            f"`{submission.to('logs --follow', name)}`, stop it, or give yours a --name."
        )


def _code() -> str:
    """Of what travels with a job and is computed with."""
    return code_digest(ROOT, ROOT / "platform", ROOT / "jobs")


def _hand_over(client: Any, submission: Submission, name: str) -> bool:
    """Submit; false where the same command, given elsewhere, was faster."""
    environment = cast("dict[str, Any]", yaml.safe_load(RUNTIME_ENV.read_text()))
    environment["working_dir"] = str(ROOT)
    try:
        client.submit_job(
            entrypoint=submission.entrypoint,
            submission_id=name,
            runtime_env=environment,
            metadata={CODE: _code()},
            entrypoint_num_cpus=submission.cpus or None,
            entrypoint_memory=int(submission.memory_gb * 2**30) or None,
        )
    except (RuntimeError, ValueError) as refused:  # ValueError: more than 500 MB would have to travel
        if name in {job.submission_id for job in client.list_jobs()}:
            return False
        raise Refusal(f"The cluster did not take {name}: {_last_line(str(refused))}") from refused
    return True


async def _follow(client: Any, name: str, show: Show) -> None:
    while not client.get_job_status(name).is_terminal():
        async for said in client.tail_job_logs(name):
            show(said)
        await asyncio.sleep(POLL_S)  # the log's end comes a little before the job's


def _exit_code(client: Any, name: str, show: Show) -> int:
    told = client.get_job_info(name)
    until = time.monotonic() + 10 * POLL_S
    while told.driver_exit_code is None and time.monotonic() < until:
        time.sleep(POLL_S)
        told = client.get_job_info(name)
    if told.driver_exit_code is None:
        show(f"{name} ended as {told.status}: {told.message}\n")
        return WITHOUT_A_CODE.get(told.status, 1)
    code = int(told.driver_exit_code)
    return code if code >= 0 else 128 - code  # below 0: the signal that killed it


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def show_on_console(said: str) -> None:
    """Pass a job's words on as they come."""
    sys.stdout.write(said)
    sys.stdout.flush()
