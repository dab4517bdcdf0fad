"""The store over folders and object storage: one client library (obstore) speaks to all of them."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, MemoryStore, from_url

from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.patience import Patience, code, passes, patiently, status
from jointdistill.types import Refusal

_REMOTE = ("s3", "gs", "az")
_DENIED = (PermissionDeniedError, UnauthenticatedError)
_DENIAL = "Permission denied|ExpiredToken|InvalidToken"
_SEGMENT = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f]+")
"""A part of a key: neither `.` nor `..`, and nothing that a file system would read as more than a name."""

_STALL_S = 30.0
"""A request in which nothing arrives for so long is given up, and perhaps tried again."""
_SMALL = 1 << 20
_SLOWEST = 256 << 10
"""Bytes a second; an upload that takes longer counts as hanging (64 MiB may take almost 5 minutes)."""


def open_store(uri: str, patience_s: float = 60.0) -> Store:
    """The store at a folder (a path or `file://`), `s3://`, `gs://`, `az://`, or `memory://`.

    A folder is created where it does not exist. Object storage takes its address and credentials from the
    provider's usual environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL` …), in every process anew, so no
    secret travels with a pickled store. `patience_s` bounds how long a failing request is tried again.

    Raises `Refusal` where the URI cannot be a store.
    """
    scheme, separator, _ = uri.partition("://")
    if scheme == "memory" and separator:
        memory = MemoryStore()
        return ObjectStore(uri, patience_s, memory, memory)
    if scheme in _REMOTE and separator:
        return ObjectStore(uri, patience_s, _reader(uri), _writer(uri, _SMALL))
    if scheme == "file" or not separator:
        folder = Path(uri.removeprefix("file://")).absolute()
        local = _local(folder)
        return ObjectStore(str(folder), patience_s, local, local)
    raise Refusal(f"{uri} is no place to store: use a folder, s3://, gs://, az:// or memory://.")


def _local(folder: Path) -> LocalStore:
    try:
        return LocalStore(folder, mkdir=True)
    except OSError as error:
        raise Refusal(
            f"{folder} cannot be used as a folder ({error}): choose a path that you may write to."
        ) from error


def _reader(uri: str) -> Any:
    # Its own few retries go on in the middle of a value or a listing, where ours begin anew.
    retries = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
    return _remote(uri, retries, read_timeout=timedelta(seconds=_STALL_S), timeout=timedelta(hours=6))


def _writer(uri: str, size: int) -> Any:
    """The client for values up to a size: until the reply begins, its clock does not see an upload move."""
    # It never tries again by itself: it would take the trace of its own first attempt for another writer's.
    return _remote(uri, {"max_retries": 0}, timeout=timedelta(seconds=_STALL_S + size / _SLOWEST))


def _remote(uri: str, retries: dict[str, Any], **timeouts: timedelta) -> Any:
    # Deleted one by one: not all that speak S3 know its deletion of many.
    only_s3 = {"disable_bulk_delete": True} if uri.startswith("s3:") else {}
    try:
        # Plain http only ever happens where the environment names such an endpoint itself.
        return from_url(uri, client_options={"allow_http": True, **timeouts}, retry_config=retries, **only_s3)
    except BaseError as error:
        raise Refusal(
            f"{uri} cannot be opened ({_reason(error)}): check the address and its environment variables."
        ) from error


@final
@dataclass(frozen=True)
class ObjectStore(Store):
    """Bytes by key below one URI. Made by `open_store`; pickled as its URI."""

    uri: str
    patience_s: float
    client: Any = field(repr=False, compare=False)
    writer: Any = field(repr=False, compare=False)

    def put(self, key: str, value: bytes) -> None:
        """See `Store`. Tried again while errors may pass; a lost reply is made up for by comparing bytes."""
        with self._in_words(f"writing {_checked(key)}"):
            writer, patience = self._writer_for(len(value)), Patience(self.patience_s)
            while True:
                try:
                    # One request, never in parts: a part left behind by a dead writer costs money unseen.
                    obstore.put(writer, key, value, mode="create")
                except BaseError as error:
                    if isinstance(error, AlreadyExistsError) and not passes(error):
                        if patience.tried_before and self._holds(key, value):
                            return  # an earlier attempt of ours arrived, and its reply was lost
                        raise AlreadyThere(f"{self}/{key}") from error
                    patience.wait_after(error)
                else:
                    return

    def get(self, key: str) -> bytes:
        """See `Store`."""
        with self._in_words(f"reading {_checked(key)}"):
            try:
                return self._read(key)
            except FileNotFoundError as error:
                if _no_bucket(error):
                    raise
                raise Missing(f"{self}/{key}") from error

    def list(self, prefix: str = "") -> Iterator[str]:
        """See `Store`; in the order of the keys' code points."""
        below = _checked(prefix) if prefix else None
        with self._in_words("listing"):
            return iter(patiently(lambda: self._keys(below), self.patience_s))

    def delete(self, key: str) -> None:
        """See `Store`."""
        with self._in_words(f"deleting {_checked(key)}"):
            try:
                patiently(lambda: obstore.delete(self.client, key), self.patience_s)
            except (FileNotFoundError, BaseError) as error:
                # A folder is no value; neither is what is gone.
                gone = isinstance(error, FileNotFoundError) or "Is a directory" in str(error)
                if _no_bucket(error) or not gone:
                    raise

    def _keys(self, below: str | None) -> builtins.list[str]:
        return sorted(found["path"] for page in obstore.list(self.client, below) for found in page)

    def _read(self, key: str) -> bytes:
        return patiently(lambda: bytes(obstore.get(self.client, key).bytes()), self.patience_s)

    def _holds(self, key: str, value: bytes) -> bool:
        try:
            return self._read(key) == value
        except FileNotFoundError:
            return False

    def _writer_for(self, size: int) -> Any:
        if size <= _SMALL or isinstance(self.writer, LocalStore | MemoryStore):
            return self.writer
        return _writer(self.uri, size)

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
        except (BaseError, OSError, ValueError, NotImplementedError) as error:
            said = f"{self} failed at {doing} ({_reason(error)}): {_remedy(error)}."
            raise Refusal(said) from error


def _remedy(error: Exception) -> str:
    said = str(error)
    if "169.254." in said:  # where a cloud's machines ask for their role, if nothing else is given
        return "give credentials in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
    if status(error) in (401, 403) or isinstance(error, _DENIED) or re.search(_DENIAL, said):
        return "check the credentials and what they may do"
    if re.search("Received redirect|AuthorizationHeaderMalformed", said):  # S3, of another region's bucket
        return "set AWS_REGION to the bucket's region"
    if _no_bucket(error):
        return "make the bucket, or correct the address"
    if isinstance(error, NotSupportedError | NotImplementedError) or status(error) == 501:
        return "use a store that takes create-only puts (If-None-Match)"
    full = status(error) == 507 or re.search("No space left|quota exceeded|QuotaExceeded", said)
    return "make room" if full else "check that it exists, can be reached and has room"


def _no_bucket(error: Exception) -> bool:
    return bool(re.search("NoSuchBucket|ContainerNotFound|bucket does not exist", str(error)))


def _checked(key: str) -> str:
    """The key, if it stays below the store's URI."""
    if not all(_SEGMENT.fullmatch(part) for part in key.split("/")):
        raise Refusal(f"'{key}' is no key of a store: use a relative path without '..' or empty parts.")
    return key


def _reason(error: BaseException) -> str:
    """What the client says first and S3's word for it; the server's XML and a dump of its state follow."""
    said = re.split(r"\n|: <|: $", str(error).strip())[0].removesuffix(".").removesuffix(":")
    said = re.sub(r" in [\d.]+[mµn]?s(, after .*retry_timeout: \w+)? *", " ", said)
    return f"{said}, {code(error)}" if code(error) else said
