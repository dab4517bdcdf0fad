"""What tests in several folders share: a real object storage."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator

import pytest

from tests.services import rgw as ceph


@pytest.fixture(scope="session")
def rgw() -> Iterator[ceph.Rgw]:
    """Ceph's S3, started by the first test that asks for it."""
    if absent := ceph.absent():
        missing = f"no {', '.join(absent)} on this machine: run `make services`"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    with ceph.rgw() as server:
        yield server


@pytest.fixture
def bucket(rgw: ceph.Rgw, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty bucket, which this process's environment leads to."""
    for name, value in rgw.environment.items():
        monkeypatch.setenv(name, value)
    return rgw.bucket(f"b-{uuid.uuid4().hex}")
