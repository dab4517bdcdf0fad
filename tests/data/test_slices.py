from __future__ import annotations

import numpy as np
import pytest

from jointdistill.data.slices import feedback_slice, label_order

KEYS = [f"frame-{number}" for number in range(1000)]
SHUFFLED = np.random.default_rng(0).permutation(1000)


@pytest.mark.parametrize(("share", "size"), [(0, 0), (0.0001, 1), (0.02, 20), (0.5, 500)])
def test_the_slice_has_its_share(share: float, size: int) -> None:
    assert feedback_slice(KEYS, share).sum() == size


def test_neither_depends_on_the_order_of_rows() -> None:
    shuffled = [KEYS[place] for place in SHUFFLED]
    assert (feedback_slice(shuffled, 0.1) == feedback_slice(KEYS, 0.1)[SHUFFLED]).all()
    in_order = [shuffled[row] for row in label_order(shuffled, "depth")]
    assert in_order == [KEYS[row] for row in label_order(KEYS, "depth")]


def test_most_of_the_slice_stays_where_images_are_added() -> None:
    before = feedback_slice(KEYS, 0.1)
    after = feedback_slice([*KEYS, *(f"new-{number}" for number in range(100))], 0.1)[:1000]
    assert (before & after).sum() >= 0.8 * before.sum()


def test_a_label_order_is_a_permutation_of_its_own() -> None:
    depth, labels = label_order(KEYS, "depth"), label_order(KEYS, "segmentation")
    assert sorted(depth) == list(range(1000))
    common = set(depth[:100]) & set(labels[:100])
    assert len(common) < 30  # 10 by chance
    assert abs(feedback_slice(KEYS, 0.5)[depth[:500]].mean() - 0.5) < 0.1


def test_the_choice_is_the_same_for_ever() -> None:
    # Data sets in use would be divided anew: change this only with the version of the format.
    assert np.flatnonzero(feedback_slice(KEYS[:100], 0.03)).tolist() == [14, 18, 48]
    assert label_order(KEYS[:5], "depth").tolist() == [4, 3, 1, 0, 2]


def test_no_images_are_no_slice() -> None:
    assert len(feedback_slice([], 0.1)) == 0
    assert len(label_order([], "depth")) == 0
