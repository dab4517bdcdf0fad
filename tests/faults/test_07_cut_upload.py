"""Row 7: an upload is cut, and the process dies of it. The snapshot before stays the latest one."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from jointdistill.engine import shard
from jointdistill.engine.snapshot import MANIFEST, Snapshots
from jointdistill.launch.work import Work
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.faults import waiting
from tests.faults.dying import DyingStore
from tests.faults.oracle import EVERY, Attempts, End, Killed, end, straight, work
from tests.faults.proxy import Proxy
from tests.services.rgw import Rgw

FILE_BYTES = 96 << 10
"""So small that a snapshot has several files."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cut")


@pytest.fixture(scope="module")
def expected(folder: Path) -> End:
    return straight(work(folder))


@pytest.fixture
def mine(folder: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Work:
    """The run on object storage, where its teachers lie too; its snapshots have several files."""
    monkeypatch.setattr(shard, "FILE_BYTES", FILE_BYTES)
    at_home = work(folder)
    here, there = open_store(at_home.storage), open_store(bucket)
    for key in here.list("teachers"):
        there.put(key, here.get(key))
    return replace(at_home, storage=bucket)


@pytest.fixture(autouse=True)
def steps_that_wait() -> Iterator[None]:
    with waiting.for_snapshots():
        yield


class Uploads:
    """Of the uploads to one step's snapshot only the `fatal`th may be hit."""

    def __init__(self, step: int, fatal: int) -> None:
        self.folder, self.fatal, self.seen = f"/snapshots/{step:09d}-", fatal, 0

    def __call__(self, method: str, path: str) -> bool:
        if method != "PUT" or self.folder not in path:
            return False
        self.seen += 1
        return self.seen == self.fatal


class Mortal(DyingStore):
    """Its process dies of the first request that fails."""

    def __init__(self, proxy: Proxy, uri: str) -> None:
        with pytest.MonkeyPatch.context() as way:
            way.setenv("AWS_ENDPOINT_URL", proxy.address)
            super().__init__(open_store(uri, patience_s=0), fatal=-1, after=False)

    def _change(self, key: str, change: Callable[[], None]) -> None:
        try:
            super()._change(key, change)
        except Refusal:
            self.dead = True
            raise Killed from None


def signed(rgw: Rgw, bucket: str, query: str, method: str = "GET", key: str = "") -> urllib.request.Request:
    """A request without a body whose query is one word, signed as S3 wants it (version 4)."""
    now = datetime.datetime.now(datetime.UTC)
    day, moment = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    host, empty = rgw.endpoint.removeprefix("http://"), hashlib.sha256(b"").hexdigest()
    path = f"/{bucket.removeprefix('s3://')}{key}"
    headers = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": moment}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    asked = hashlib.sha256(f"{method}\n{path}\n{query}=\n{lines}\n{names}\n{empty}".encode()).hexdigest()
    scope = f"{day}/us-east-1/s3/aws4_request"
    proving = f"AWS4{rgw.secret}".encode()
    for word in scope.split("/"):
        proving = hmac.digest(proving, word.encode(), "sha256")
    proof = hmac.digest(proving, f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{asked}".encode(), "sha256").hex()
    said = f"AWS4-HMAC-SHA256 Credential={rgw.access_key}/{scope},SignedHeaders={names},Signature={proof}"
    return urllib.request.Request(
        f"{rgw.endpoint}{path}?{query}", headers={**headers, "Authorization": said}, method=method
    )


def begun_in_parts(rgw: Rgw, bucket: str) -> list[str]:
    """Uploads that were begun in parts and never ended: they cost money, and no listing shows them."""
    with urllib.request.urlopen(signed(rgw, bucket, "uploads"), timeout=30) as reply:
        said = reply.read().decode()
    assert "ListMultipartUploadsResult" in said
    return re.findall(r"<Key>(.*?)</Key>", said)


def left_behind(store: Store, run: str) -> list[str]:
    """Folders without a manifest."""
    return [name for name, whole in Snapshots(store, run).names().items() if not whole]


@pytest.mark.parametrize("fault", ["cut", "reset", "lost"])
def test_row_7_killed_at_each_upload_of_a_snapshot(
    mine: Work, expected: End, rgw: Rgw, fault: str, record_property: Callable[[str, object], None]
) -> None:
    direct = open_store(mine.storage)
    died_of: list[str] = []
    orphans = recomputed = 0
    for upload in count(1):
        attempts = Attempts(replace(mine, run=f"cut-{upload}"))
        with Proxy(rgw.endpoint, may_hit=Uploads(2 * EVERY, upload)) as proxy:
            proxy.always(fault)
            mortal = Mortal(proxy, mine.storage)
            if attempts.go(store=mortal):
                break
        died_of.append(mortal.keys[-1].rsplit("/", 1)[-1])
        snapshots = Snapshots(direct, attempts.work.run)
        latest = snapshots.latest()
        assert latest is not None
        committed = fault == "lost" and died_of[-1] == MANIFEST
        assert latest.step == (2 * EVERY if committed else EVERY)
        assert snapshots.skipped == []
        # Of the first upload nothing has arrived, unless only the reply is missing.
        folders = left_behind(direct, attempts.work.run)
        assert bool(folders) == (not committed and (upload > 1 or fault == "lost"))
        orphans += len(folders)
        assert attempts.go()
        assert f"Going on from step {latest.step} of 12." in attempts.notes
        assert left_behind(direct, attempts.work.run) == []
        assert expected.differences(end(attempts.work)) == []
        recomputed = max(recomputed, attempts.recomputed)
    assert len(died_of) >= 4  # several files, and the manifest last of all
    assert died_of[-1] == MANIFEST
    assert begun_in_parts(rgw, mine.storage) == []
    record_property("lost", f"no committed step in {len(died_of)} deaths; {orphans} leftovers were deleted")
    record_property("recomputed", f"at most {recomputed} steps (interval {EVERY})")


def test_uploads_in_parts_would_be_seen(rgw: Rgw, bucket: str) -> None:
    """So that their absence, above, says something."""
    begin = signed(rgw, bucket, "uploads", method="POST", key="/large")
    with urllib.request.urlopen(begin, timeout=30):
        assert begun_in_parts(rgw, bucket) == ["large"]
