"""How many cores there are to divide."""

from __future__ import annotations

import math
import os
from pathlib import Path


def cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use, by its affinity and its container's CPU limit; at least 1.

    A limit of 2.5 cores counts as 3. `cgroup` is the folder that says the limit.
    """
    return max(1, math.ceil(min(len(os.sched_getaffinity(0)), _limit(cgroup))))


def _limit(cgroup: Path) -> float:
    """Cores that a container may keep busy; infinity where nothing limits it."""
    version_2 = [cgroup / "cpu.max"]
    version_1 = [cgroup / "cpu" / "cpu.cfs_quota_us", cgroup / "cpu" / "cpu.cfs_period_us"]
    for files in (version_2, version_1):
        try:
            quota, period = " ".join(file.read_text() for file in files).split()
        except OSError:
            continue  # no cgroup of this version
        return int(quota) / int(period) if quota.isdigit() else math.inf  # max, or -1
    return math.inf
