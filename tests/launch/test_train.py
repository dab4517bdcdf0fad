"""What a driver does for its workers, and what it makes of their failures."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist

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


def test_a_rank_whose_group_was_taken_away_has_not_failed_by_itself() -> None:
    with pytest.raises(ValueError, match="process group") as gone:
        dist.all_reduce(torch.zeros(1))
    assert training._of_another_rank(gone.value)
    assert training._of_another_rank(RuntimeError("[gloo] Connection closed by peer"))
    assert not training._of_another_rank(ValueError("expected 3 channels, got 1"))
    assert not training._of_another_rank(RuntimeError("shapes do not match"))
