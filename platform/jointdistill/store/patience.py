"""Trying a request again for as long as what went wrong may pass, and patience lasts."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar, final

from obstore.exceptions import BaseError

Answer = TypeVar("Answer")

_PASSING = {408, 429, 500, 502, 503, 504}
_PASSING_CODES = {"SlowDown", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict"}
"""What S3 says with statuses that otherwise are final."""

_CHANCE = random.Random()
"""Of its own: a run's random numbers, which its snapshots keep, must not depend on the weather."""


def status(error: BaseException) -> int | None:
    """The HTTP status of the server's reply, if there was one: the client tells it only in its text."""
    found = re.search(r"status code: (\d{3})", str(error))
    return int(found[1]) if found else None


def code(error: BaseException) -> str:
    """S3's word for what went wrong (`NoSuchBucket`), or nothing."""
    found = re.search(r"<Code>(\w+)</Code>", str(error))
    return found[1] if found else ""


def passes(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later: no reply, half a reply, or a busy server."""
    if not isinstance(error, BaseError):
        return False
    if status(error) is None:
        return "HTTP error" in str(error)
    return status(error) in _PASSING or code(error) in _PASSING_CODES


@final
class Patience:
    """The waits between the attempts at one request."""

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._longest_s = 0.2
        self.tried_before = False

    def wait_after(self, error: Exception) -> None:
        """Wait before the next attempt. Raises the error where it will not pass or no time is left."""
        # By chance, so that workers that failed together do not come back together.
        pause = _CHANCE.uniform(0.25, 1) * self._longest_s
        left = self._until - time.monotonic()
        if not passes(error) or left <= 0:
            raise error
        time.sleep(min(pause, left))
        self._longest_s = min(2 * self._longest_s, 5.0)
        self.tried_before = True


def patiently(request: Callable[[], Answer], seconds: float) -> Answer:
    """The request's answer, tried again while its errors may pass. It must be one that may run twice."""
    patience = Patience(seconds)
    while True:
        try:
            return request()
        except BaseError as error:
            patience.wait_after(error)
