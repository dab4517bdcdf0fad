from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import ray

from jointdistill.launch import cluster
from jointdistill.place import Launch
from jointdistill.types import Refusal


@contextmanager
def there(resources: dict[str, float]) -> Iterator[None]:
    """A cluster that is played."""

    @contextmanager
    def connected(workers: int, device: str) -> Iterator[None]:
        yield

    with (
        patch.object(cluster, "connected", connected),
        patch.object(ray, "cluster_resources", lambda: resources),
    ):
        yield


@pytest.mark.parametrize(("gpus", "device"), [(4.0, "cuda"), (0.0, "cpu")])
def test_a_cluster_decides_by_what_it_has(monkeypatch: pytest.MonkeyPatch, gpus: float, device: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    with there({"CPU": 8.0, "GPU": gpus}):
        assert cluster.device_of(Launch(workers=2)) == device
        assert cluster.device_of(Launch(workers=2, device="cpu")) == "cpu"


def test_a_cluster_that_grows_and_has_no_gpu_yet_must_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    monkeypatch.setenv("JOINTDISTILL_AUTOSCALES", "1")
    with there({}):
        with pytest.raises(Refusal, match="say --device cuda, so that one comes, or --device cpu"):
            cluster.device_of(Launch(workers=2))
        assert cluster.device_of(Launch(workers=2, device="cuda")) == "cuda"
    with there({"GPU": 1.0}):
        assert cluster.device_of(Launch(workers=2)) == "cuda"
