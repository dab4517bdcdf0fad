from __future__ import annotations

from unittest.mock import patch

import pytest
import torch

from jointdistill.launch import train as training
from jointdistill.launch.train import tune_process


@pytest.mark.parametrize(("threads", "workers", "expected"), [(0, 1, 7), (0, 2, 3), (0, 9, 1), (5, 2, 5)])
def test_workers_divide_the_cores_that_their_container_may_use(
    threads: int, workers: int, expected: int
) -> None:
    before = torch.get_num_threads()
    try:
        with patch.object(training, "cores", lambda: 7):
            tune_process(threads, workers)
        assert torch.get_num_threads() == expected
    finally:
        torch.set_num_threads(before)
