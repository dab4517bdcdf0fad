"""Submitting to a cluster that is played here; tests/jobs/test_submit.py has a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from ray.job_submission import JobStatus

from jointdistill.launch import submit as submitting
from jointdistill.launch.submit import Submission, submit
from jointdistill.types import Refusal

COMMAND = Submission(("jobs/distill.py", "scenes", "--workers", "2"))


@dataclass
class Cluster:
    """Has jobs, and ends the one that is followed in the way it is told."""

    known: dict[str, JobStatus] = field(default_factory=dict)
    ends: JobStatus = JobStatus.SUCCEEDED
    code: int | None = 0
    breaks: BaseException | None = None
    faster: bool = False
    """Whether somebody else submits in the very moment."""
    refuses: str = ""
    code_of_others: str = ""
    submitted: list[dict[str, object]] = field(default_factory=list)

    def list_jobs(self) -> list[SimpleNamespace]:
        metadata = {submitting.CODE: self.code_of_others} if self.code_of_others else None
        return [
            SimpleNamespace(submission_id=name, status=status, metadata=metadata)
            for name, status in self.known.items()
        ]

    def submit_job(self, **job: object) -> None:
        if self.faster:
            self.known[str(job["submission_id"])] = JobStatus.RUNNING
            raise RuntimeError("Request failed with status code 500: it exists already")
        if self.refuses:
            raise RuntimeError(f"Request failed with status code 500:\n{self.refuses}")
        self.submitted.append(job)
        self.known[str(job["submission_id"])] = JobStatus.RUNNING

    def get_job_status(self, name: str) -> JobStatus:
        return self.known[name]

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        yield "step 20 of 20\n"
        if self.breaks:
            raise self.breaks
        self.known[name] = self.ends

    def get_job_info(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(status=self.ends, driver_exit_code=self.code, message="it ended")


def played(cluster: Cluster, submission: Submission = COMMAND) -> tuple[int, str]:
    """Exit code and what was shown."""
    said: list[str] = []
    with (
        patch.object(submitting, "_client", lambda address: cluster),
        patch.object(submitting, "POLL_S", 0.01),
    ):
        code = submit(submission, said.append)
    return code, "".join(said)


@pytest.mark.parametrize(
    ("ends", "code", "expected"),
    [
        (JobStatus.SUCCEEDED, 0, 0),
        (JobStatus.FAILED, 2, 2),
        (JobStatus.STOPPED, 143, 143),
        (JobStatus.STOPPED, None, 143),
        (JobStatus.FAILED, None, 1),
        (JobStatus.FAILED, -9, 137),
    ],
)
def test_it_ends_with_the_jobs_exit_code(ends: JobStatus, code: int | None, expected: int) -> None:
    cluster = Cluster(ends=ends, code=code)
    found, said = played(cluster)
    assert found == expected
    assert "step 20 of 20\n" in said
    (job,) = cluster.submitted
    assert job["entrypoint"] == "python jobs/distill.py scenes --workers 2"
    assert job["submission_id"] == COMMAND.job
    assert job["entrypoint_num_cpus"] is None


def test_the_name_follows_from_the_command() -> None:
    assert COMMAND.job.startswith("distill-scenes-")
    assert COMMAND.job == Submission(COMMAND.command, cpus=2).job
    assert COMMAND.job != Submission((*COMMAND.command, "--fresh")).job


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["scenes", "--workers", "2"], "distill-scenes-55912092"),
        (["my_scenes-1.5"], "distill-my_scenes-1.5-21767e7b"),
        (["--help"], "distill-8d8f6228"),
        (["/data/pics"], "distill-data-pics-765d0df2"),
        (["s3://bucket/my pics?"], "distill-s3-bucket-my-pics-ff03055d"),
        (["/"], "distill-b17575c6"),
    ],
)
def test_a_made_name_can_name_a_file_and_a_page(words: list[str], name: str) -> None:
    assert Submission(("jobs/distill.py", *words)).job == name


@pytest.mark.parametrize("name", ["a/b", "my run"])
def test_a_given_name_that_cannot_is_refused(name: str) -> None:
    cluster = Cluster()
    with pytest.raises(Refusal, match=r"--name '.*' is no name: use letters, digits, '.', '_' and '-'\.$"):
        played(cluster, replace(COMMAND, name=name))
    assert not cluster.submitted


def test_how_to_stop_it_leads_to_the_cluster_that_was_named() -> None:
    named = replace(COMMAND, address="http://head:8265")
    stop = f"RAY_API_SERVER_ADDRESS=http://head:8265 ray job stop {COMMAND.job}"
    assert f"with a snapshot: {stop}\n" in played(Cluster(), named)[1]
    assert played(Cluster(breaks=KeyboardInterrupt()), named)[1].endswith(f"and `{stop}` ends it.\n")


def test_a_job_that_runs_is_followed_and_one_that_ended_begins_anew() -> None:
    ended = {COMMAND.job: JobStatus.FAILED, f"{COMMAND.job}-2": JobStatus.RUNNING}
    running = Cluster(known=dict(ended))
    assert played(running)[1].startswith(f"{COMMAND.job}-2 is running already: following it.")
    assert not running.submitted
    again = Cluster(known={**ended, f"{COMMAND.job}-2": JobStatus.STOPPED})
    assert played(again)[1].startswith(f"Submitted {COMMAND.job}-3.")


def test_a_running_job_of_other_code_is_not_taken_for_ones_own() -> None:
    running = {COMMAND.job: JobStatus.RUNNING}
    with pytest.raises(Refusal, match=f"{COMMAND.job} is running already, with other code than"):
        played(Cluster(known=dict(running), code_of_others="of yesterday"))
    first = Cluster()
    played(first)
    mine = str(first.submitted[0]["metadata"][submitting.CODE])  # type: ignore[index]
    assert played(Cluster(known=dict(running), code_of_others=mine))[0] == 0


@pytest.mark.parametrize(
    "flag", ["--tracking=http://me:secret@mlflow", "http://me:secret@mlflow:5000", "https://secret@mlflow"]
)
def test_a_password_does_not_travel_in_a_command(flag: str) -> None:
    cluster = Cluster()
    with pytest.raises(Refusal, match="holds a password, which Ray shows") as refused:
        played(cluster, Submission((*COMMAND.command, flag)))
    assert "secret" not in str(refused.value) and not cluster.submitted


def test_of_two_that_submit_at_once_the_slower_one_follows() -> None:
    code, said = played(Cluster(faster=True))
    assert (code, said) == (0, f"{COMMAND.job} is running already: following it.\nstep 20 of 20\n")


def test_what_the_cluster_refuses_is_said() -> None:
    with pytest.raises(Refusal, match=f"did not take {COMMAND.job}: the disk is full"):
        played(Cluster(refuses="the disk is full"))


def test_losing_sight_of_a_job_is_said_and_leaving_it_too() -> None:
    with pytest.raises(Refusal, match=r"Lost sight of .* \(no route\): the same command follows it again"):
        played(Cluster(breaks=OSError("no route")))
    code, said = played(Cluster(breaks=KeyboardInterrupt()))
    assert code == 130
    assert said.endswith(f"and `ray job stop {COMMAND.job}` ends it.\n")
