"""Steps take milliseconds in these tests, and most snapshots would be left out: here each is waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from jointdistill.engine.writer import Writer


@contextmanager
def for_snapshots() -> Iterator[None]:
    """Training waits until a snapshot is durable, or has come to nothing."""
    submit = Writer.submit

    def submit_and_wait(self: Writer, *what: Any) -> None:
        submit(self, *what)
        while self.busy:
            time.sleep(0.01)

    with patch.object(Writer, "submit", submit_and_wait):
        yield
