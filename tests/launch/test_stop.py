"""SIGTERM in a driver, wherever it is just then."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
import ray

from jointdistill.launch.cluster import connected
from jointdistill.launch.stop import StopSign
from jointdistill.types import Stopped


def sleep(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.ray
def test_who_waits_for_ray_is_stopped_as_well() -> None:
    """Ray, while it waits for an answer, goes on after any other exception than Ctrl-C's."""

    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert sign.asked.wait(5)
        sign.insist()

    with connected(1, "cpu"):
        waiting = ray.remote(num_cpus=0)(sleep).remote(60)
        began = time.monotonic()
        with (
            pytest.raises(Stopped, match="before it could keep a snapshot"),
            StopSign() as sign,
            sign.heard(),
        ):
            threading.Timer(0.5, stop).start()
            ray.get(waiting)
        assert time.monotonic() - began < 30
        ray.cancel(waiting, force=True)
