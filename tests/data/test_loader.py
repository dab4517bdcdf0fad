"""The order of images: a function of (seed, step) and of nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jointdistill.data.loader import Loader, Order, Share, in_order
from jointdistill.data.sampling import Sampling, divide
from jointdistill.engine.ranks import Ranks
from jointdistill.launch.worker import build
from jointdistill.types import Refusal
from tests.engine import small


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    work = small.work(tmp_path_factory.mktemp("loader"))
    return build(work, Ranks(torch.device("cpu")), lambda message: None).loader


def shared(loader: Loader, share: Share, **sampling: object) -> Loader:
    """The same loader for another rank."""
    slices = divide(loader.cache, replace(loader.sampling, **sampling), loader.tasks, feedback=0.2)
    return Loader(
        loader.cache, slices, replace(loader.sampling, **sampling), loader.tasks, loader.seed, share
    )


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_the_shares_of_all_ranks_are_the_global_batch(loader, world):
    for step in (0, 5, 17):
        whole = loader.batch(step)
        shares = [shared(loader, Share(rank, world)).batch(step) for rank in range(world)]
        by_slot = {int(slot): (share, place) for share in shares for place, slot in enumerate(share.slots)}
        assert sorted(by_slot) == list(range(loader.sampling.batch))
        for place, slot in enumerate(whole.slots):
            share, there = by_slot[int(slot)]
            assert share.keys[there] == whole.keys[place]
            assert torch.equal(share.image[there], whole.image[place])
            for task, truth in whole.truth.items():
                assert torch.equal(share.present[task][there], whole.present[task][place])
                torch.testing.assert_close(share.truth[task][there], truth[place], equal_nan=True)
        assert all(share.count == whole.count and share.total == whole.total for share in shares)


def test_labelled_slots_come_first_and_only_they_carry_labels(loader):
    for step in range(10):
        batch = loader.batch(step)
        assert batch.labelled == loader.sampling.labelled
        carries = torch.stack(list(batch.present.values())).any(0)
        assert carries[: batch.labelled].all()
        assert not carries[batch.labelled :].any()
        assert batch.count == {task: int(present.sum()) for task, present in batch.present.items()}


def test_a_task_with_few_labels_is_seen_as_often_as_one_with_many(loader):
    few = shared(loader, Share(), labels={"depth": 1.0, "segmentation": 0.3}, batch=8, labelled=4)
    counts = [few.batch(step).count for step in range(10)]
    assert all(count["segmentation"] >= 2 and count["depth"] >= 2 for count in counts)
    alone = [
        shared(loader, Share(), labels={"depth": 0.0}, batch=8, labelled=4).batch(step) for step in range(3)
    ]
    assert all(batch.count == {"depth": 0, "segmentation": 4} for batch in alone)


def test_every_image_comes_once_before_any_comes_twice():
    order = Order(np.arange(10), 1, 0)
    first_laps = np.array([order.at(place) for place in range(30)])
    for lap in range(3):
        assert sorted(first_laps[lap * 10 : (lap + 1) * 10]) == list(range(10))
    assert list(first_laps[:10]) != list(first_laps[10:20])


def test_a_stream_gives_the_batches_of_its_steps(loader):
    streamed = [batch.keys for batch in loader.stream(4, 9)]
    assert streamed == [loader.batch(step).keys for step in range(4, 9)]
    assert list(loader.stream(3, 3)) == []


def test_the_feedback_slice_lies_inside_the_budget_and_outside_training(loader):
    cache, tasks = loader.cache, loader.tasks
    held = divide(cache, Sampling(labels={"segmentation": 0.5}), tasks, feedback=0.2)
    whole = divide(cache, Sampling(labels={"segmentation": 0.5}, hold_out=False), tasks, feedback=0.2)
    budget = round(0.5 * len(cache))
    assert len(held.labelled["segmentation"]) + len(held.feedback["segmentation"]) == budget
    assert len(whole.labelled["segmentation"]) == budget
    assert not len(whole.feedback["segmentation"])
    for rows in held.feedback.values():
        assert not np.isin(rows, held.train).any()
    assert set(held.labelled["segmentation"]) < set(whole.labelled["segmentation"])


def test_a_budget_smaller_than_the_slice_leaves_no_label_to_train_on(loader):
    slices = divide(loader.cache, Sampling(labels={"segmentation": 0.1}), loader.tasks, feedback=0.5)
    assert len(slices.feedback["segmentation"]) == round(0.1 * len(loader.cache))
    assert not len(slices.labelled["segmentation"])


def test_labelled_slots_without_any_label_are_refused(loader):
    with pytest.raises(Refusal, match=r"raise --sampling\.labels"):
        shared(loader, Share(), labels={"depth": 0.0, "segmentation": 0.0})


@pytest.mark.parametrize(("batch", "labelled"), [(4, 5), (0, 0), (4, -1)])
def test_slots_that_do_not_fit_the_batch_are_refused(batch, labelled):
    with pytest.raises(Refusal, match="labelled slots"):
        Sampling(batch=batch, labelled=labelled)


def test_evaluation_sees_each_image_once_over_all_ranks(loader):
    labels = {"segmentation": np.arange(5), "depth": np.array([1, 2, 7])}
    for world in (1, 2, 3):
        seen: list[int] = []
        batches = [
            list(in_order(loader.cache, loader.tasks, labels, Share(rank, world))) for rank in range(world)
        ]
        assert len({len(of_rank) for of_rank in batches}) == 1  # a sharded network computes only together
        for batch in (batch for of_rank in batches for batch in of_rank):
            seen += batch.index[batch.present["segmentation"]].tolist()
            hidden = batch.truth["segmentation"][~batch.present["segmentation"]]
            assert (hidden == 255).all()
        assert sorted(seen) == list(range(5))
