"""Who may write a run: one owner at a time, and of its workers only those it started last.

A store has no locks, and no clock that all agree on. So all of this rests on create-only keys:

    runs/RUN/claims/000007.json     made once, by whoever got there first; the highest number may publish
    runs/RUN/alive/TOKEN-000012     an owner's sign of life, replaced by its next; gone once it let go

The owner is a driver. It claims the run, and each group of workers that it starts claims it again, saying
from which step it goes on. So a worker that was thought dead finds a higher number and writes nothing more;
and should it have written in that very moment, whoever reads knows to pass it over (`counts`).
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from jointdistill.store.base import AlreadyThere, Store
from jointdistill.store.sealed import seal, unseal
from jointdistill.types import JSON, Refusal

BEAT_S = 10.0
"""Seconds between two signs of life; on object storage each costs two requests."""
SILENCE_S = 35.0
"""Who gave no sign of life for so long is taken for dead."""


class Superseded(Refusal):
    """Somebody else has the run now."""


@dataclass(frozen=True)
class Owner:
    """A driver."""

    token: str
    """Nobody else has it."""
    host: str
    machine: str
    """The host, this boot of it and this container: where `pid` means something."""
    pid: int
    born: float
    """When the process began, since a pid is used again."""

    @classmethod
    def here(cls) -> Self:
        """This process."""
        born = psutil.Process().create_time()
        return cls(secrets.token_hex(8), socket.gethostname(), _machine(), os.getpid(), born)

    @property
    def dead(self) -> bool:
        """Whether it ran on this machine and does no more."""
        if self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.born) > 1 or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class Claim:
    """The right to write a run."""

    number: int
    owner: Owner
    base: int | None = None
    """The step that a group of workers goes on from; none for the driver's own claim."""


@dataclass(frozen=True)
class Claims:
    """All claims on one run."""

    store: Store
    run: str

    def all(self) -> list[Claim]:
        """Every claim, the oldest first."""
        return [_read(key, self.store.get(key)) for key in self.store.list(self._folder)]

    def newest(self) -> Claim | None:
        """The claim that counts; none where nobody ever claimed the run."""
        keys = [*self.store.list(self._folder)]
        return _read(keys[-1], self.store.get(keys[-1])) if keys else None

    def make(self, owner: Owner, after: Claim | None, base: int | None = None) -> Claim:
        """Claim the run after its newest claim. Raises `AlreadyThere` where somebody was faster, `Refusal`
        where the store lets two writers have the same key."""
        claim = Claim(after.number + 1 if after else 1, owner, base)
        key = f"{self._folder}/{claim.number:06d}.json"
        nonce = secrets.token_hex(8)  # so that nobody else's bytes are taken for ours
        content = seal({"owner": asdict(owner), "number": claim.number, "base": base, "nonce": nonce})
        self.store.put(key, content)
        try:
            self.store.put(key, content[::-1])
        except AlreadyThere:
            return claim
        raise Refusal(
            f"The storage {self.store} overwrites what is there, so runs could destroy each other's work: "
            "use one that honours create-only puts (If-None-Match), such as Ceph RGW, AWS S3 or a folder."
        )

    def refuse_superseded(self, claim: Claim) -> None:
        """Raises `Superseded` where there is a newer claim than this one."""
        newest = self.newest()
        if newest and newest.number > claim.number:
            whom = "newer workers of its own" if newest.owner == claim.owner else str(newest.owner)
            raise Superseded(
                f"The run '{self.run}' was taken over by {whom}: nothing more is written from here."
            )

    @property
    def _folder(self) -> str:
        return f"runs/{self.run}/claims"


def counts(claims: Iterable[Claim], number: int, step: int) -> bool:
    """Whether what claim `number` wrote about a step counts: nobody who claimed the run later went on from
    an earlier step."""
    return all(claim.base is None or claim.base >= step for claim in claims if claim.number > number)


@dataclass
class Hold:
    """Keeps a run for its owner for as long as the block lasts.

    Raises `Refusal` where another owner, which it names, is alive; to be sure that a silent one is not, it
    waits for a sign of life, and says so.
    """

    claims: Claims
    owner: Owner
    say: Callable[[str], None]
    beat_s: float = BEAT_S
    silence_s: float = SILENCE_S
    _beats: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._beat()
        try:
            self._take()
        except BaseException:
            self._let_go()
            raise
        self._thread = threading.Thread(target=self._live, name="sign-of-life", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._let_go()

    def _take(self) -> None:
        while True:
            newest = self.claims.newest()
            if newest and newest.owner != self.owner and self._alive(newest.owner):
                raise Refusal(
                    f"The run '{self.claims.run}' is being trained by {newest.owner}: wait for it, stop "
                    "it, or choose another --run."
                )
            with suppress(AlreadyThere):  # somebody was faster: look again
                self.claims.make(self.owner, newest)
                return

    def _alive(self, other: Owner) -> bool:
        """1. It let go of the run, or its process on this machine ended: no. 2. Its process is here: yes.
        3. It gives a sign of life while somebody watches."""
        seen = self._signs(other)
        if not seen or other.dead:
            return False
        if other.machine == self.owner.machine:
            return True
        self.say(f"{other} had the run: waiting up to {self.silence_s:.0f} s for a sign of life.")
        until = time.monotonic() + self.silence_s
        while time.monotonic() < until:
            time.sleep(min(1.0, self.beat_s))
            now = self._signs(other)
            if now != seen:
                return bool(now)
        return False

    def _signs(self, owner: Owner) -> list[str]:
        return [key for key in self.claims.store.list(self._folder) if owner.token in key]

    def _live(self) -> None:
        while not self._ended.wait(self.beat_s):
            with suppress(Refusal):  # a store that stutters: the next beat will do
                self._beat()

    def _beat(self) -> None:
        before = self._signs(self.owner)
        self._beats += 1
        self.claims.store.put(f"{self._folder}/{self.owner.token}-{self._beats:09d}", b"")
        for key in before:
            self.claims.store.delete(key)

    def _let_go(self) -> None:
        with suppress(Refusal):
            for key in self._signs(self.owner):
                self.claims.store.delete(key)

    @property
    def _folder(self) -> str:
        return f"runs/{self.claims.run}/alive"


def _read(key: str, content: bytes) -> Claim:
    try:
        said: dict[str, Any] = unseal(content)
    except ValueError:  # damaged, it still counts: whoever made it is not known to live
        return Claim(int(Path(key).stem), Owner("?", "an unknown host", "?", 0, 0.0))
    return Claim(said["number"], Owner(**said["owner"]), said["base"])


def _machine() -> str:
    known: list[JSON] = [socket.gethostname()]
    for place in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            path = Path(place)
            known.append(str(path.readlink()) if path.is_symlink() else path.read_text().strip())
    return " ".join(map(str, known))
