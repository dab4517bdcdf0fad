"""The contract of a store: four verbs over bytes by key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator


class AlreadyThere(Exception):
    """The key has a value; nothing was written."""


class Missing(Exception):
    """The key has no value."""


class Store(ABC):
    """Bytes by key. Keys are relative paths with `/`; a value, once put, never changes."""

    @abstractmethod
    def put(self, key: str, value: bytes) -> None:
        """Create the key: either the whole value is there afterwards or nothing.

        Raises `AlreadyThere` where the key has a value; of racing writers exactly one wins. After a lost
        reply a writer knows its own value by its bytes, so the values of racing writers must differ.
        """

    @abstractmethod
    def get(self, key: str) -> bytes:
        """The value. Raises `Missing`."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys below a prefix (a folder, without its closing `/`), in order."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove the key and its value. That it has none is no error: someone was here before."""
