"""One run, one owner: who may write is decided by create-only keys alone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from jointdistill.engine.claims import Claim, Claims, Hold, Owner, Superseded, counts
from jointdistill.store.base import AlreadyThere, Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal


@pytest.fixture
def claims(tmp_path: Path) -> Claims:
    return Claims(open_store(str(tmp_path)), "mine")


def hold(claims: Claims, owner: Owner, said: list[str] | None = None) -> Hold:
    return Hold(claims, owner, (said if said is not None else []).append, beat_s=0.05, silence_s=0.5)


def elsewhere(pid: int = 1) -> Owner:
    return replace(Owner.here(), machine="another", host="spot-17", pid=pid)


def test_of_many_that_claim_at_once_one_wins(claims: Claims) -> None:
    owners = [Owner.here() for _ in range(8)]

    def claim(owner: Owner) -> Claim | None:
        with suppress(AlreadyThere):
            return claims.make(owner, None)
        return None

    with ThreadPoolExecutor(8) as pool:
        won = [claim for claim in pool.map(claim, owners) if claim]
    assert len(won) == 1
    newest = claims.newest()
    assert newest is not None
    assert newest.owner == won[0].owner


def test_a_run_that_is_let_go_can_be_taken_at_once(claims: Claims) -> None:
    for _ in range(3):
        with hold(claims, elsewhere()):
            pass
    assert [claim.number for claim in claims.all()] == [1, 2, 3]
    assert not [*claims.store.list("runs/mine/alive")]


@pytest.mark.parametrize("where", [Owner.here, elsewhere])
def test_a_second_owner_is_refused_and_told_the_first(claims: Claims, where) -> None:
    first = where()
    with (
        hold(claims, first),
        pytest.raises(Refusal, match=rf"is being trained by {first}: wait"),
        hold(claims, Owner.here()),
    ):
        pass


def test_a_silent_owner_elsewhere_is_waited_for_and_then_replaced(claims: Claims) -> None:
    dead = hold(claims, elsewhere())
    dead._beat()
    claims.make(dead.owner, None)
    said: list[str] = []
    with hold(claims, Owner.here(), said):
        newest = claims.newest()
        assert newest is not None
        assert newest.number == 2
    assert "spot-17 had the run: waiting up to" in said[0]


@pytest.fixture
def ended() -> Iterator[Owner]:
    """An owner of this machine whose process is no more."""
    code = (
        "from jointdistill.engine.claims import Owner; import json; from dataclasses import asdict;"
        "print(json.dumps(asdict(Owner.here())))"
    )
    root = Path(__file__).parents[2] / "platform"
    said = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    import json

    yield Owner(**json.loads(said.stdout))


def test_a_dead_owner_of_this_machine_is_replaced_without_waiting(claims: Claims, ended: Owner) -> None:
    assert ended.dead
    hold(claims, ended)._beat()
    claims.make(ended, None)
    began = time.monotonic()
    with Hold(claims, Owner.here(), print, silence_s=60):
        assert time.monotonic() - began < 5


def test_a_superseded_writer_is_told(claims: Claims) -> None:
    mine, other = Owner.here(), elsewhere()
    first = claims.make(mine, None)
    claims.refuse_superseded(first)
    second = claims.make(mine, first, 10)
    with pytest.raises(Superseded, match="newer workers of its own"):
        claims.refuse_superseded(first)
    claims.make(other, second)
    with pytest.raises(Superseded, match=r"process 1 on spot-17"):
        claims.refuse_superseded(second)


def test_what_was_written_after_somebody_went_on_from_earlier_does_not_count() -> None:
    owner = Owner.here()
    claims = [Claim(1, owner), Claim(2, owner, 0), Claim(3, owner, 100), Claim(4, owner)]
    assert counts(claims, 2, 100)
    assert not counts(claims, 2, 101)
    assert counts(claims, 3, 10_000)


def test_a_damaged_claim_holds_nobody_up(claims: Claims, tmp_path: Path) -> None:
    claims.make(elsewhere(), None)
    (file,) = tmp_path.glob("runs/mine/claims/*.json")
    file.write_text("{")
    with hold(claims, Owner.here()):
        newest = claims.newest()
        assert newest is not None
        assert newest.number == 2


def test_a_store_that_overwrites_is_refused(tmp_path: Path) -> None:
    class Overwriting(Store):
        def __init__(self) -> None:
            self.values: dict[str, bytes] = {}

        def put(self, key: str, value: bytes) -> None:
            self.values[key] = value

        def get(self, key: str) -> bytes:
            return self.values[key]

        def list(self, prefix: str = "") -> Iterator[str]:
            return iter(sorted(key for key in self.values if key.startswith(prefix)))

        def delete(self, key: str) -> None:
            del self.values[key]

    with pytest.raises(Refusal, match="overwrites what is there"):
        Claims(Overwriting(), "mine").make(Owner.here(), None)
