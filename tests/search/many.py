"""A sweep of many trials that train nothing: `python -m tests.search.many FOLDER TRIALS`.

The last line says how each ended, and the most memory that the driver took, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jointdistill.search.conduct import conduct
from jointdistill.search.schedulers.asha import Asha
from jointdistill.search.tuning import Share
from tests.engine import small
from tests.search import stub


def main(folder: Path, trials: int) -> None:
    """Sweep, and tell."""
    sweep = stub.sweep(folder, "many", trials=trials, scheduler=Asha(10, 2))
    report = conduct(sweep, small.launch(folder), Share(), lambda message: None, stub.segment())
    print(json.dumps({"steps": {course.name: course.step for course in report.courses}, "peak": _peak()}))


def _peak() -> int:
    """Bytes; by /proc, since `getrusage` counts what the process was before it became this program."""
    status = Path("/proc/self/status").read_text()
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
