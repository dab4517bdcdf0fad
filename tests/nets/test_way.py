"""The index of a network's way."""

from __future__ import annotations

import pytest

from jointdistill.nets.way import Moment, read_index, write_index
from jointdistill.types import Refusal

LATE, EARLY = (Moment.of(step, {"depth": 1 / step}, b"weights of %d" % step) for step in (8, 2))


def test_it_comes_back_earliest_first() -> None:
    assert read_index(write_index([LATE, EARLY]), "expert") == (EARLY, LATE)


def test_a_changed_file_is_refused_by_name_and_step() -> None:
    assert EARLY.check(b"weights of 2", "expert") == b"weights of 2"
    with pytest.raises(Refusal, match="anchor of 'expert' at step 2 is missing or not what was saved"):
        EARLY.check(b"weights of 3", "expert")


@pytest.mark.parametrize("content", [b"", b"[1]", b'[{"step": 2}]', b'{"anchors": []'])
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(Refusal, match="anchors of 'expert' cannot be read"):
        read_index(content, "expert")
