"""What is lost and what that means, as the mailbox judges it; called here without being an actor."""

from __future__ import annotations

import signal
import time
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from ray.exceptions import ActorDiedError, RayActorError

from jointdistill.launch import mailbox as boxes
from jointdistill.launch.mailbox import Mailbox, Postman
from jointdistill.launch.stop import StopSign
from jointdistill.launch.trainer import Losses
from jointdistill.launch.work import Note
from jointdistill.types import Refusal, StepReport, Stopped


def notes(mailbox: Mailbox) -> list[str]:
    return [message.text for message in mailbox.collect() if isinstance(message, Note)]


def test_losses_count_until_a_new_step_is_done() -> None:
    mailbox = Mailbox(2, 2, "CPU")
    for step in (10, 20, 30):
        mailbox.lost([1], preempted=False)
        mailbox.lost([0], preempted=False)
        mailbox.put(StepReport(step, 0, {}))
    assert mailbox.begin()
    for _ in range(3):
        mailbox.put(StepReport(30, 0, {}))  # walked again
        mailbox.lost([0, 1], preempted=False)
    assert "Lost ranks 0, 1, 3 times in a row without a new step" in str(mailbox.failure())
    assert not mailbox.begin()


def test_a_preemption_is_not_counted_and_whoever_is_warned_loses_the_others_to_it() -> None:
    mailbox = Mailbox(0, 2, "CPU")
    mailbox.lost([1], preempted=True)
    mailbox.warn()
    mailbox.lost([], preempted=False)  # a survivor noticed before Ray did
    assert notes(mailbox) == [
        f"Lost {whom}: the workers start again from the last snapshot (after a preemption)."
        for whom in ("rank 1", "contact")
    ]
    assert mailbox.failure() is None
    mailbox.lost([1], preempted=False)
    assert mailbox.failure() is not None


def test_a_loss_after_the_word_to_stop_is_the_end_and_no_failure() -> None:
    mailbox = Mailbox(0, 2, "CPU")
    mailbox.stop()
    mailbox.lost([0], preempted=False)
    assert not mailbox.begin()
    assert mailbox.failure() is None


def test_who_waits_for_workers_is_told_what_the_cluster_has() -> None:
    now, state, said = [1000.0], ["PENDING"], []
    with (
        patch.object(boxes, "time", SimpleNamespace(monotonic=lambda: now[0])),
        patch.object(boxes.ray, "cluster_resources", lambda: {"GPU": 2.0, "CPU": 8.0}),
        patch.object(boxes.ray, "available_resources", lambda: {"CPU": 8.0}),
        patch.object(boxes, "placement_group_table", lambda: {"one": {"state": state[0]}}),
    ):
        mailbox = Mailbox(3, 4, "GPU")
        for now[0] in (1029.0, 1031.0, 1032.0, 1061.0, 1063.0):
            said.append(notes(mailbox))
        assert said[0] == said[2] == []
        assert said[1] == [
            "No worker has begun for 31 s: 4 need 4 GPUs, and the cluster has 2, of which 0 are free. Add "
            "nodes, or stop this and lower --workers."
        ]
        assert [len(each) for each in said] == [0, 1, 0, 1, 0]
        state[0], now[0] = "CREATED", 1130.0
        assert notes(mailbox) == ["No worker has begun for 130 s: they have room, and are still starting."]
        mailbox.begin()
        now[0] = 5000.0
        assert notes(mailbox) == []


def test_contact_that_is_lost_is_told_with_what_was_said_of_it() -> None:
    mailbox = Mailbox(1, 2, "CPU")
    mailbox.lost([], preempted=False, said="NCCL error: no route to host")
    (note,) = notes(mailbox)
    assert note.startswith("Lost contact (NCCL error: no route to host): the workers start again")
    mailbox.lost([], preempted=False, said="NCCL error: no route to host")
    assert str(mailbox.failure()).startswith("Lost contact (NCCL error: no route to host), 2 times in a row")


class Told:
    """A mailbox's handle that keeps what it is told."""

    def __init__(self) -> None:
        self.lost, self.told = self, []

    def remote(self, *said: Any) -> None:
        self.told.append(said)


@pytest.mark.parametrize("preempted", [False, True])
def test_the_same_death_is_told_once_however_often_ray_tells_it(preempted: bool) -> None:
    told = Told()
    losses = Losses(told)
    for actor in ("a1", "a1", "a1", "b2", None, None):
        losses.after_exception(None, {1: RayActorError(actor, preempted=preempted)})
    losses.after_exception(None, {0: RuntimeError("Traceback:\n  …\ngloo: connection closed")})
    assert told.told == [([1], preempted, "")] * 4 + [([], False, "gloo: connection closed")]


class Handle:
    """Calls a mailbox as one calls an actor."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __getattr__(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(remote=getattr(self._mailbox, name))


@pytest.mark.parametrize("begun", [False, True])
def test_whoever_is_stopped_while_no_worker_is_there_ends_at_once(begun: bool) -> None:
    mailbox, sign = Mailbox(3, 2, "CPU"), StopSign()
    if begun:
        mailbox.begin()
    with (
        patch.object(boxes.ray, "get", lambda answer: answer),
        nullcontext() if begun else pytest.raises(Stopped, match="before it could keep a snapshot"),
        sign,
        sign.heard(),
        Postman(Handle(mailbox), lambda message: None, sign, every_s=0.01),
    ):
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert mailbox.stopping()


def test_a_run_that_has_failed_waits_for_no_worker_to_hear_of_it() -> None:
    mailbox, sign = Mailbox(0, 2, "CPU"), StopSign()
    mailbox.begin()
    with (
        patch.object(boxes, "HOPELESS_S", 0.2),
        patch.object(boxes.ray, "get", lambda answer: answer),
        pytest.raises(Refusal, match="Lost rank 1, 1 times in a row"),
        sign,
        sign.heard(),
        Postman(Handle(mailbox), lambda message: None, sign, every_s=0.01),
    ):
        mailbox.lost([1], preempted=False)
        for _ in range(50):  # what a thread signals is heard between two of them
            time.sleep(0.1)


def test_a_mailbox_that_dies_ends_its_run_in_words() -> None:
    sign = StopSign()

    def died(answer: object) -> None:
        raise ActorDiedError

    with (
        patch.object(boxes.ray, "get", died),
        pytest.raises(Refusal, match="that collects what workers say was lost"),
        sign,
        sign.heard(),
        Postman(Handle(Mailbox(0, 2, "CPU")), lambda message: None, sign, every_s=0.01),
    ):
        for _ in range(50):
            time.sleep(0.1)
