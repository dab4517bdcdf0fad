"""Runs every fault test and prints what was lost: `make faults`.

With `--publish` the table in docs/faults.md is replaced by that of this run. Words after `--` go to pytest.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- the matrix, by `make faults` -->", "<!-- end of the matrix -->"

FAULTS = {
    1: "`kill -9` of Ray Train workers",
    2: "`kill -9` of a raylet",
    3: "a machine is about to be preempted",
    4: "SIGTERM to the driver, `ray job stop`",
    5: "`kill -9` of the cluster's head",
    6: "object storage answers 5xx, SlowDown, resets, slowly",
    7: "an upload is cut off, or its writer dies between files",
    8: "a bit flips, an object is cut off or gone",
    9: "Ray's own index is cut in half",
    10: "no room on the storage",
    11: "MLflow is away, also at the start",
    12: "MLflow fails, is slow, or its reply is lost",
    13: "two jobs write one run",
    14: "a worker that was thought dead comes back",
    15: "`kill -9` of a sweep's driver",
    16: "a clone's donor deletes its old snapshots",
    17: "a rank hangs",
    18: "another number of workers",
    19: "a teacher fails or answers NaN",
    21: "the clock jumps",
    22: "death at any point of publishing",
}


@dataclass(frozen=True)
class Case:
    """One test of one row."""

    row: int
    name: str
    outcome: str
    lost: str
    recomputed: str


def main() -> int:
    """Run, print, publish; the exit code is pytest's."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--publish", action="store_true", help="put the table into docs/faults.md")
    arguments.add_argument("rest", nargs="*", help="words for pytest")
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "tests/faults",
            "-q",
            "-m",
            "not gpu",
            f"--junitxml={report}",
            "-ojunit_family=xunit1",  # the newer one has no place for what a test says was lost
        ]
        done = subprocess.run(
            [*command, *asked.rest], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
        )
        cases = sorted(read(report), key=lambda case: (case.row, case.name))
    table = "\n".join(lines(cases))
    print(f"\n{table}")
    if asked.publish:
        page = PAGE.read_text()
        before, after = page.split(BEGIN)[0], page.split(END)[1]
        PAGE.write_text(f"{before}{BEGIN}\nRun on {date.today()}.\n\n{table}\n{END}{after}")
    return done.returncode


def read(report: Path) -> Iterable[Case]:
    """The cases of pytest's report that belong to a row."""
    for case in xml.parse(report).iter("testcase"):
        said = re.match(r"test_row_(\d+)_(.+)", case.get("name", ""))
        if said is None:
            continue
        known = {prop.get("name"): prop.get("value", "") for prop in case.iter("property")}
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = kinds.pop() if kinds else "held"
        name = said[2].replace("_", " ")
        yield Case(int(said[1]), name, outcome, known.get("lost", ""), known.get("recomputed", ""))


def lines(cases: Iterable[Case]) -> Iterable[str]:
    """The table, a row a test."""
    by_row = defaultdict(list)
    for case in cases:
        by_row[case.row].append(case)
    yield "| # | fault | test | | lost | computed again |"
    yield "|---|---|---|---|---|---|"
    for row, fault in FAULTS.items():
        if row not in by_row:
            yield f"| {row} | {fault} | **no test ran** | | | |"
        for place, case in enumerate(by_row[row]):
            head = f"{row} | {fault}" if not place else " | "
            yield f"| {head} | {case.name} | {case.outcome} | {case.lost or '–'} | {case.recomputed or '–'} |"


if __name__ == "__main__":
    sys.exit(main())
