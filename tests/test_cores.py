from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from jointdistill.cores import cores


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "800000 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "5000 100000\n"}, 1),
        ({"cpu.max": "0 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 96),
        ({"cpu.max": "12800000 100000\n"}, 96),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 96),
        ({}, 96),
    ],
)
def test_a_containers_limit_counts(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    (tmp_path / "cpu").mkdir()
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with patch("os.sched_getaffinity", lambda process: set(range(96))):
        assert cores(tmp_path) == expected


def test_the_affinity_counts_where_it_is_less(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("800000 100000\n")
    with patch("os.sched_getaffinity", lambda process: {3, 5}):
        assert cores(tmp_path) == 2
