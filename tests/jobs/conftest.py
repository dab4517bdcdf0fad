from __future__ import annotations

import pytest

from tests.jobs.order import Refused


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Calls a job that must refuse."""
    for name in ("JOINTDISTILL_STORAGE", "JOINTDISTILL_CACHE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return Refused(capsys, monkeypatch)
