"""A store whose process dies: at one operation, before or after it took effect, and at all that follow."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from jointdistill.store.base import Store
from tests.faults.oracle import Killed


class DyingStore(Store):
    """Counts what writes; dies at the `fatal`th write or deletion."""

    def __init__(self, inner: Store, fatal: int, after: bool) -> None:
        self.inner, self.fatal, self.after = inner, fatal, after
        self.done = 0
        self.keys: list[str] = []
        self.dead = False
        self._lock = threading.Lock()

    def put(self, key: str, value: bytes) -> None:
        self._change(key, lambda: self.inner.put(key, value))

    def delete(self, key: str) -> None:
        self._change(key, lambda: self.inner.delete(key))

    def get(self, key: str) -> bytes:
        self._alive()
        return self.inner.get(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        self._alive()
        return self.inner.list(prefix)

    def _change(self, key: str, change) -> None:  # type: ignore[no-untyped-def]
        with self._lock:
            self._alive()
            self.keys.append(key)
            fatal = self.done == self.fatal
            self.done += 1
            if fatal and not self.after:
                self.dead = True
                raise Killed
            try:
                change()
            finally:
                if fatal:
                    self.dead = True
            if fatal:
                raise Killed

    def _alive(self) -> None:
        if self.dead:
            raise Killed
