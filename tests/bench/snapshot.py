"""What fault tolerance costs: how long training waits for its snapshots, and how long a restart takes.

    python tests/bench/snapshot.py --pairs 4 --kills 3
    python tests/bench/snapshot.py --kills 0 --batch 16 --device cuda --storage FOLDER

Stall: a student of 25.6 M parameters (AdamW; live teachers; one thread) with a snapshot every 50 steps to
a real S3 (Ceph's RGW) on the same cores. Blocks of 50 steps take turns in one process, so that whatever else
the machine does falls on all of them: `beside`, written in the writer's thread; `none`, without snapshots;
`waiting`, where the next step comes once the snapshot is durable. A block holds one snapshot whole, to the
manifest and the tidying after it.

Restart: two Ray Train workers with the demo's student, of which one is killed by signal 9, and beside it two
workers that only import torch, in the same cluster, killed and started again in the same way.

The last line is JSON:

    blocked_share   share of the wall time that training waited for the writer (target: below 0.01)
    steps_ratio     steps a second beside over none: the median over pairs of blocks, with a bootstrap
                    interval of 95 % (target: at least 0.97)
    steps_ratio_processor   the same by the training thread's processor time: neighbours hardly touch it
    sync_…          the same of the blocks that wait
    durable_s       from the end of the step to the manifest on the store
    restart_s       from the kill to the end of the first step after it
    restart_ray_s   from the kill to a function that runs in the workers started anew
    restart_extra_s the difference, by pairs (target: below 2)
    restart_extra_processor_s   the same in processor time of what comes one after the other: Ray's controller
                    and a worker; neighbours hardly touch it
    restart_stages_s   how `restart_s` divides: until our function is entered, until it builds, has built, has
                    resumed, has made a step
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import demo_sized
import restart
import stall


def main() -> None:
    """Measure, and print one JSON object."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--pairs", type=int, default=4, help="pairs of blocks; 0 leaves the stall out")
    arguments.add_argument("--kills", type=int, default=3, help="of each kind; 0 leaves the restart out")
    arguments.add_argument("--batch", type=int, default=2, help="images a step of the large student")
    arguments.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the large student")
    arguments.add_argument("--storage", help="folder or URI to keep its snapshots in instead of Ceph's S3")
    asked = arguments.parse_args()
    load = os.getloadavg()[0]
    said: dict[str, Any] = {}
    with TemporaryDirectory(prefix="jd-bench-") as folder:
        print("drawing", file=sys.stderr, flush=True)
        experiment = demo_sized.prepare(Path(folder))
        if asked.pairs:
            with nullcontext(asked.storage) if asked.storage else storage() as address:
                told = asked.pairs, asked.batch, asked.device
                said |= stall.measure(experiment, Path(folder), address, *told)
        if asked.kills:
            said |= restart.measure(experiment, Path(folder), asked.kills)
    print(json.dumps({**said, "threads": 1, "cores": os.cpu_count(), "load_before": round(load, 1)}))


@contextmanager
def storage() -> Iterator[str]:
    """The address of a bucket, which this process's environment leads to for as long as the block lasts."""
    sys.path.append(str(Path(__file__).parents[2]))
    from tests.services import rgw

    if absent := rgw.absent():
        sys.exit(f"no {', '.join(absent)} on this machine: run `make services`")
    with rgw.rgw() as server, patch.dict(os.environ, server.environment):
        yield server.bucket("bench")


if __name__ == "__main__":
    main()
