"""What a worker finds before its first step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from jointdistill.launch import worker
from jointdistill.types import Refusal
from tests.engine import small


def test_a_frame_in_both_splits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that lists its files is not surveyed, so nobody has compared their keys."""
    keys = {"train": ["a", "b"], "val": ["b", "c"]}
    monkeypatch.setattr(
        worker, "build_cache", lambda data, card, split, tasks, folder: SimpleNamespace(keys=keys[split])
    )
    with pytest.raises(Refusal, match="The frame 'b' is in train and in val"):
        worker.decode(small.work(tmp_path))
