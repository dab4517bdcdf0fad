"""A cluster that grows and shrinks under a run: `python -m tests.cluster.elastic FOLDER`.

The run may have one to two workers. It begins on one machine, a second one joins, and later is killed. The
last line says what was seen, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from tests.faults.cluster import surroundings

STEPS, EVERY = 400, 10
LONG_S = 120
"""Whoever waits so long for workers to come or go gives up."""


def main(folder: Path) -> None:
    """Train, change the cluster, and tell."""
    import ray
    from ray.cluster_utils import Cluster

    from jointdistill.launch import train as launching
    from tests.faults.workers import Watcher, launch, train, workers

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    seen: list[int] = []
    watcher = Watcher()
    ended = threading.Event()

    def change() -> None:
        until(lambda: alive() == 1 and watcher.reports)
        second = cluster.add_node(num_cpus=1)
        until(lambda: alive() == 2)
        reported = len(watcher.reports)
        until(lambda: len(watcher.reports) > reported + 2)
        os.kill(second.all_processes["raylet"][0].process.pid, signal.SIGKILL)
        until(lambda: alive() == 1)

    def alive() -> int:
        return sum(1 for _ in workers())

    def until(holds: object) -> None:
        assert callable(holds)
        for _ in range(LONG_S * 4):
            if ended.wait(0.25) or holds():
                break
        seen.append(alive())

    told = replace(launch(folder, "elastic", workers=2), fewest=1, snapshot_every=EVERY)

    def trains() -> None:
        with patch.object(launching, "RESIZED_EVERY_S", 5.0):
            train(folder, told, watcher, STEPS)
        ended.set()

    training = threading.Thread(target=trains, daemon=True)  # Ray adds machines in the main thread only
    training.start()
    change()
    training.join()
    print(json.dumps({"seen": seen, "notes": watcher.notes, "resumed": watcher.resumed}), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="jd-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        os.environ |= surroundings(scratch)
        main(Path(sys.argv[1]))
