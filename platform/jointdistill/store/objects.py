"""The store over folders and object storage: one client library (obstore) speaks to all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import LocalStore, MemoryStore, from_url

from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.types import Refusal

_REMOTE = ("s3", "gs", "az")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]+")
"""A part of a key: neither `.` nor `..`, and nothing that a file system would read as more than a name."""


def open_store(uri: str, patience_s: float = 60.0) -> Store:
    """The store at a folder (a path or `file://`), `s3://`, `gs://`, `az://`, or `memory://`.

    A folder is created where it does not exist. Object storage takes its address and credentials from the
    provider's usual environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` …), in every process anew, so no
    secret travels with a pickled store. `patience_s` bounds how long a failing request is tried again.

    Raises `Refusal` where the URI cannot be a store.
    """
    scheme, separator, _ = uri.partition("://")
    if scheme == "memory" and separator:
        return ObjectStore(uri, patience_s, MemoryStore())
    if scheme in _REMOTE and separator:
        return ObjectStore(uri, patience_s, _remote(uri, patience_s))
    if scheme == "file" or not separator:
        folder = Path(uri.removeprefix("file://")).absolute()
        return ObjectStore(str(folder), patience_s, _local(folder))
    raise Refusal(f"{uri} is no place to store: use a folder, s3://, gs://, az:// or memory://.")


def _local(folder: Path) -> LocalStore:
    try:
        return LocalStore(folder, mkdir=True)
    except OSError as error:
        raise Refusal(
            f"{folder} cannot be used as a folder ({error}): choose a path that you may write to."
        ) from error


def _remote(uri: str, patience_s: float) -> Any:
    try:
        # Plain http only ever happens where the environment names such an endpoint itself.
        return from_url(
            uri,
            client_options={"allow_http": True},
            retry_config={"retry_timeout": timedelta(seconds=patience_s)},
        )
    except BaseError as error:
        raise Refusal(
            f"{uri} cannot be opened ({_first_line(error)}): check the address and its environment variables."
        ) from error


@final
@dataclass(frozen=True)
class ObjectStore(Store):
    """Bytes by key below one URI. Made by `open_store`; pickled as its URI."""

    uri: str
    patience_s: float
    client: Any = field(repr=False, compare=False)

    def put(self, key: str, value: bytes) -> None:
        """See `Store`. Where the reply to a put is lost, its repetition may raise `AlreadyThere`."""
        with self._in_words(f"writing {_checked(key)}"):
            try:
                # One request, never in parts: a part left behind by a dead writer costs money unseen.
                obstore.put(self.client, key, value, mode="create")
            except AlreadyExistsError as error:
                raise AlreadyThere(f"{self}/{key}") from error

    def get(self, key: str) -> bytes:
        """See `Store`."""
        with self._in_words(f"reading {_checked(key)}"):
            try:
                return bytes(obstore.get(self.client, key).bytes())
            except FileNotFoundError as error:
                raise Missing(f"{self}/{key}") from error

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Store`; in the order of the keys' code points."""
        with self._in_words("listing"):
            pages = obstore.list(self.client, _checked(prefix) if prefix else None)
            return iter(sorted(found["path"] for page in pages for found in page))

    def __str__(self) -> str:
        return self.uri.rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.client, MemoryStore):
            raise TypeError("a memory:// store lives in one process: use a folder or object storage")
        return open_store, (self.uri, self.patience_s)

    @contextmanager
    def _in_words(self, doing: str) -> Iterator[None]:
        """Turn the client's exceptions into refusals."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            reason = _first_line(error)
            # A folder's client has no exception of its own for this.
            if (
                isinstance(error, PermissionDeniedError | UnauthenticatedError)
                or "Permission denied" in reason
            ):
                remedy = "check the credentials and what they may do"
            else:
                remedy = "check that it exists, can be reached and has room"
            raise Refusal(f"{self} failed at {doing} ({reason}): {remedy}.") from error


def _checked(key: str) -> str:
    """The key, if it stays below the store's URI."""
    if not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise Refusal(f"'{key}' is no key of a store: use a relative path without '..' or empty parts.")
    return key


def _first_line(error: BaseException) -> str:
    """What the client says first, without its patience; the server's XML and a dump of its state follow."""
    said = re.split(r"\n|: <", str(error).strip())[0].removesuffix(".")
    return re.sub(r" in [\d.]+m?s, after .*retry_timeout: \w+ *", " ", said)
