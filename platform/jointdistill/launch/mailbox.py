"""Where workers leave their messages and the driver collects them: one small actor.

It starts when the workers do, on the same cores, so it imports no more than it needs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorDiedError
from ray.util.placement_group import placement_group_table

from jointdistill.launch.stop import StopSign
from jointdistill.launch.work import Message, Note
from jointdistill.types import Refusal, StepReport

PATIENCE_S = 30.0
"""After so long without a worker it is said what they wait for; then after twice as long, and so on."""
HOPELESS_S = 10.0
"""After so long without a worker, nobody waits for one that would only be told that the run has failed."""


class Mailbox:
    """An actor: messages in the order they came, the other way the word that stops a run, and what ended it.

    Ray starts workers again whatever befell them. Whether that is worth it is judged here: what a worker
    raised would be raised again, and a process that is lost again and again makes no step.
    """

    def __init__(self, restarts: int, workers: int, kind: str) -> None:
        self._restarts, self._in_a_row, self._farthest = restarts, 0, -1
        self._workers, self._kind = workers, kind
        self._messages: list[Message] = []
        self._stopping = self._over = self._warned = False
        self._failure: Exception | None = None
        self._wait()

    def put(self, message: Message) -> None:
        """Leave a message."""
        if isinstance(message, StepReport) and message.step > self._farthest:
            self._farthest, self._in_a_row = message.step, 0
        self._messages.append(message)

    def collect(self) -> list[Message]:
        """Take what has come since the last time."""
        waits_s = time.monotonic() - self._since if self._since else 0.0
        if waits_s > self._patience_s:
            self._patience_s *= 2
            self.put(Note(self._waiting(waits_s)))
        messages, self._messages = self._messages, []
        return messages

    def stop(self) -> None:
        """Ask the workers to stop."""
        self._stopping = True

    def stopping(self) -> bool:
        """Whether the workers are asked to stop."""
        return self._stopping

    def waits(self) -> bool:
        """Whether no worker has begun since the start, or since the last loss."""
        return self._since > 0

    def fail(self, failure: Exception) -> None:
        """A worker raised this: the run has failed, and workers that are started now have nothing to do."""
        self._failure = self._failure or failure

    def failure(self) -> Exception | None:
        """What the run failed of, if it did."""
        return self._failure

    def hopeless(self) -> Exception | None:
        """What the run failed of, where no worker comes by to hear of it."""
        return self._failure if self._since and time.monotonic() - self._since > HOPELESS_S else None

    def begin(self) -> bool:
        """A worker begins; false where it has nothing to do any more."""
        self._since = 0.0
        return not self._over and self._failure is None

    def warn(self) -> None:
        """A preemption is announced: what these workers lose next, they lose to it."""
        self._warned = True

    def lost(self, ranks: list[int], preempted: bool, said: str = "") -> None:
        """Workers' processes ended, or lost each other and said so; a preemption is no failure."""
        preempted, self._warned = preempted or self._warned, False
        self._wait()
        if self._failure:
            return
        if self._stopping:
            self._over = True
            return
        whom = f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}" if ranks else "contact"
        because = f" ({said})" if said and not ranks else ""  # who outlives others only says that they left
        self._in_a_row += not preempted
        if self._in_a_row > self._restarts:
            self._failure = Refusal(
                f"Lost {whom}{because}, {self._in_a_row} times in a row without a new step: look for the "
                "reason (often memory; a cluster's logs say more), or raise --restarts. The same command "
                "goes on from the last snapshot."
            )
            return
        of = "after a preemption" if preempted else f"{self._in_a_row} of {self._restarts}"
        self.put(Note(f"Lost {whom}{because}: the workers start again from the last snapshot ({of})."))

    def _waiting(self, waits_s: float) -> str:
        if not any(group["state"] == "PENDING" for group in placement_group_table().values()):
            return f"No worker has begun for {waits_s:.0f} s: they have room, and are still starting."
        there = ray.cluster_resources().get(self._kind, 0)
        free = ray.available_resources().get(self._kind, 0)
        return (
            f"No worker has begun for {waits_s:.0f} s: {self._workers} need {self._workers} {self._kind}s, "
            f"and the cluster has {there:g}, of which {free:g} are free. Add nodes, or stop this and lower "
            "--workers."
        )

    def _wait(self) -> None:
        self._since, self._patience_s = time.monotonic(), PATIENCE_S


class Postman:
    """Brings messages from a mailbox to whoever shows and records them, in a thread of its own, until the
    block ends; what is still in the mailbox then is brought last. Back it brings the word to stop. Where no
    worker is there to hear it, the block is ended, and where none comes to hear that the run has failed, the
    block raises what it failed of.

    What a receiver raises is raised at the end of the block, unless something else is raised there already.
    """

    def __init__(
        self,
        mailbox: Any,
        receive: Callable[[Message], None],
        sign: StopSign,
        every_s: float = 0.3,
    ) -> None:
        self._mailbox, self._receive, self._sign, self._every_s = mailbox, receive, sign, every_s
        self._failed: Exception | None = None
        self._hopeless: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="postman", daemon=True)

    def __enter__(self) -> Postman:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._bring()
        if self._hopeless and kind and issubclass(kind, KeyboardInterrupt | ActorDiedError):
            raise self._hopeless from None
        if self._failed and kind is None:
            raise self._failed

    def _walk(self) -> None:
        told = insisted = False
        while not self._ended.wait(self._every_s):
            if self._sign.asked.is_set() and not told:
                self._mailbox.stop.remote()
                told = True
            self._bring()
            if insisted:
                continue
            if self._sign.entered:  # else nobody hears it who could end the block
                hopeless = self._ask(self._mailbox.hopeless)
                self._hopeless = self._hopeless or hopeless
            if self._hopeless or (told and self._ask(self._mailbox.waits)):
                self._sign.insist()
                insisted = True

    def _bring(self) -> None:
        for message in self._ask(self._mailbox.collect) or []:
            try:
                self._receive(message)
            except Exception as failed:
                self._failed = self._failed or failed

    def _ask(self, method: Any) -> Any:
        """What the mailbox answers; None where it is gone."""
        try:
            return ray.get(method.remote())
        except ActorDiedError as gone:
            # Without it nothing is recorded, and no worker hears that it is to stop.
            self._failed = self._failed or gone
            if self._sign.entered:
                self._hopeless = self._hopeless or Refusal(
                    "The process beside the driver that collects what workers say was lost (often memory: "
                    "a cluster's logs say more). The same command goes on from the last snapshot."
                )
            return None
        except ray.exceptions.RayError as gone:
            self._failed = self._failed or gone
            return None


class StopBell:
    """In a worker, or a trial: rings once the mailbox says stop. A thread asks, so that no step waits."""

    def __init__(self, mailbox: Any, rung: threading.Event, every_s: float = 0.5) -> None:
        self._mailbox, self._rung, self._every_s = mailbox, rung, every_s
        self._ended = threading.Event()

    def __enter__(self) -> StopBell:
        threading.Thread(target=self._listen, name="stop-bell", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _listen(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                if ray.get(self._mailbox.stopping.remote()):
                    self._rung.set()
                    return
            except ActorDiedError:
                return  # the driver is gone, and with it this worker soon
            except ray.exceptions.RayError:
                continue
