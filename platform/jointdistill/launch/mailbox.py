"""Where workers leave their messages and the driver collects them: one small actor."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import ray

from jointdistill.launch.work import Message


@ray.remote(num_cpus=0)
class Mailbox:
    """Messages in the order they came."""

    def __init__(self) -> None:
        self._messages: list[Message] = []

    def put(self, message: Message) -> None:
        """Leave a message."""
        self._messages.append(message)

    def collect(self) -> list[Message]:
        """Take what has come since the last time."""
        messages, self._messages = self._messages, []
        return messages


class Postman:
    """Brings messages from a mailbox to whoever shows and records them, in a thread of its own, until the
    block ends; what is still in the mailbox then is brought last.

    What a receiver raises is raised at the end of the block, unless something else is raised there already.
    """

    def __init__(self, mailbox: Any, receive: Callable[[Message], None], every_s: float = 0.3) -> None:
        self._mailbox, self._receive, self._every_s = mailbox, receive, every_s
        self._failed: Exception | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._walk, name="postman", daemon=True)

    def __enter__(self) -> Postman:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._bring()
        if self._failed and kind is None:
            raise self._failed

    def _walk(self) -> None:
        while not self._ended.wait(self._every_s):
            self._bring()

    def _bring(self) -> None:
        try:
            messages = ray.get(self._mailbox.collect.remote())
        except ray.exceptions.RayError as gone:
            self._failed = self._failed or gone
            return
        for message in messages:
            try:
                self._receive(message)
            except Exception as failed:
                self._failed = self._failed or failed
