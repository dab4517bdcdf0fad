"""Two machines' worth of Ray on one: `python -m tests.faults.cluster kill|drain FOLDER`.

Both workers train on one of two machines, which is taken away while the other stands ready. The last line
says what happened, as JSON.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

STEPS = 240
DEADLINE_S = 12


def surroundings(scratch: str) -> dict[str, str]:
    """The environment of a cluster that nobody else finds."""
    return {
        "RAY_TMPDIR": scratch,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    }


def main(how: str, folder: Path) -> None:
    """Train, take the machine away, and tell."""
    import ray
    from ray.cluster_utils import Cluster

    from tests.faults.workers import Watcher, launch, train, workers

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    machines = [cluster.add_node(num_cpus=2) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False)
    told: dict[str, float] = {}
    watcher = Watcher()

    def take_away() -> None:
        raylets = {machine.all_processes["raylet"][0].process.pid: machine for machine in machines}
        (raylet,) = {worker.ppid() for worker in workers()}
        going = raylets[raylet]
        told["at"] = time.time()
        kill = partial(os.kill, raylet, signal.SIGKILL)
        if how == "kill":
            kill()
            return
        words = ["drain-node", "--address", cluster.address, "--node-id", going.node_id]
        words += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
        words += ["--deadline-remaining-seconds", str(DEADLINE_S)]
        subprocess.run([f"{Path(sys.executable).parent}/ray", *words], check=True, capture_output=True)
        threading.Timer(DEADLINE_S, kill).start()

    watcher.at[12] = take_away
    restarts = 1 if how == "kill" else 0  # a preemption is no failure
    knobs = {"snapshot_every": 10 if how == "kill" else 1000, "restarts": restarts}
    train(folder, replace(launch(folder, how), **knobs), watcher, STEPS)  # type: ignore[arg-type]
    groups = [group["state"] for group in ray.util.placement_group_table().values()]
    told |= {"left": sum(state != "REMOVED" for state in groups)}
    print(json.dumps({**told, "notes": watcher.notes, "resumed": watcher.resumed}), flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="jd-", dir="/tmp", ignore_cleanup_errors=True) as scratch:
        os.environ |= surroundings(scratch) | {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1"}
        main(sys.argv[1], Path(sys.argv[2]))
