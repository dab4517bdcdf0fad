import itertools

import pytest
import torch

from jointdistill.trajectory.own_past import OwnPast, OwnPastTrajectory
from jointdistill.types import Prediction, Refusal, State
from tests.trajectory.scene import GRID, IMAGES, TASKS, ZOOMED, alone, batch, predict, setting

RECIPE = OwnPast(gain=1.0, ramp=0.0, points=12, grid=GRID)
ONE_TEACHER = {"wise": tuple(TASKS)}
NOBODY: dict[str, Prediction] = {}


def having_known(wrong: float | torch.Tensor, recipe: OwnPast = RECIPE) -> OwnPastTrajectory:
    """A trajectory whose past was that wrong."""
    past = recipe.build(setting())
    past.write(predict(batch(), wrong), NOBODY, batch())
    past.merge(alone)
    return past


def gradient(past: OwnPastTrajectory, now: Prediction) -> dict[str, torch.Tensor]:
    past.loss(now, NOBODY, batch()).backward()
    return {name: answer.grad for name, answer in now.answers.items() if answer.grad is not None}


def test_what_is_written_is_read_after_the_merge_only() -> None:
    past = RECIPE.build(setting())
    past.write(predict(batch(), 0.0), NOBODY, batch())
    assert past.loss(predict(batch(), 0.5), NOBODY, batch()) == 0
    assert not past.records.known.any()
    past.merge(alone)
    assert past.loss(predict(batch(), 0.5), NOBODY, batch()) > 0
    assert past.records.known.all()


def test_notes_of_this_epoch_do_not_show_in_its_loss() -> None:
    past = having_known(0.4)
    before = past.loss(predict(batch(), 0.5), NOBODY, batch())
    past.write(predict(batch(), 0.0), NOBODY, batch())
    assert torch.equal(past.loss(predict(batch(), 0.5), NOBODY, batch()), before)
    past.merge(alone)
    assert past.loss(predict(batch(), 0.5), NOBODY, batch()) > before


def test_who_is_better_than_its_past_is_left_alone() -> None:
    past, now = having_known(0.5), predict(batch(), 0.1)
    gradients = gradient(past, now)
    assert all(not found.any() for found in gradients.values())


def test_who_forgot_is_pulled_back() -> None:
    past, now = having_known(0.0), predict(batch(), 0.5)
    gradients = gradient(past, now)
    assert (gradients["depth"] >= 0).all()  # too far: descent brings depth down
    assert gradients["depth"].any()
    assert gradients["segmentation"].any()


def test_the_gate_opens_point_by_point() -> None:
    left = torch.zeros(GRID)
    left[:, GRID[1] // 2 :] = 0.8  # the past knew the left half
    gradients = gradient(having_known(left), predict(batch(), 0.4))
    half = gradients["depth"].shape[-1] // 2
    assert gradients["depth"][..., :half].any()
    assert not gradients["depth"][..., half:].any()


def test_the_loss_is_the_mean_distance_of_the_forgotten_points() -> None:
    past = having_known(0.1)
    now = predict(batch(), 0.5)
    loss = past.loss(now, NOBODY, batch())
    rows = past.records
    per_image = []
    for image in range(IMAGES):
        total = 0.0
        for name, task in TASKS.items():
            column, row = rows.cell[image] % GRID[1], rows.cell[image] // GRID[1]
            points = torch.stack([(column + 0.5) / GRID[1], (row + 0.5) / GRID[0]], -1)[None]
            then = {key: values[image : image + 1] for key, values in rows.columns(name).items()}
            distance = task.recall(then, now.answers[name][image : image + 1], points)[0]
            weight = rows.attention[image]
            total += float((weight * distance.detach()).sum() / weight.sum())
        per_image.append(total)
    assert loss.item() == pytest.approx(sum(per_image) / IMAGES, rel=1e-4)


def test_without_the_gate_even_a_worse_past_counts() -> None:
    free = OwnPast(gain=1.0, ramp=0.0, points=12, grid=GRID, gate=False)
    gradients = gradient(having_known(0.5, free), predict(batch(), 0.1))
    assert gradients["depth"].any()


def test_a_worse_visit_changes_nothing() -> None:
    past = having_known(0.2)
    before = {name: values.clone() for name, values in past.records.tensors.items()}
    past.write(predict(batch(), 0.6), NOBODY, batch())
    past.merge(alone)
    assert all(torch.equal(before[name], values) for name, values in past.records.tensors.items())


def test_a_better_visit_replaces_the_row() -> None:
    past = having_known(0.6)
    before = past.records.loss("depth").clone()
    past.write(predict(batch(), 0.2, seed=1), NOBODY, batch())
    past.merge(alone)
    fresh = RECIPE.build(setting())
    fresh.write(predict(batch(), 0.2, seed=1), NOBODY, batch())
    fresh.merge(alone)
    for name, values in fresh.records.tensors.items():
        assert torch.equal(past.records.tensors[name], values), name
    assert (past.records.loss("depth") < before).all()


def test_each_task_keeps_its_best() -> None:
    """Depth improved, segmentation fell back: depth is renewed at the old points, segmentation stays."""
    past = having_known(0.4)
    cells = past.records.cell.clone()
    classes = past.records.columns("segmentation")["top_probability"].clone()
    better, worse = predict(batch(), 0.1, seed=1), predict(batch(), 0.8, seed=1)
    answers = {"depth": better.answers["depth"], "segmentation": worse.answers["segmentation"]}
    past.write(Prediction(answers, better.features), NOBODY, batch())
    past.merge(alone)
    assert torch.equal(past.records.cell, cells)
    assert torch.equal(past.records.columns("segmentation")["top_probability"], classes)
    assert past.records.loss("depth").tolist() == pytest.approx([0.1] * IMAGES, abs=0.01)


def test_a_close_up_renews_only_what_it_shows() -> None:
    past = having_known(0.4)
    depth = past.records.columns("depth")["log_depth"].clone()
    close = batch(matrix=ZOOMED)
    better, worse = predict(close, 0.1), predict(close, 0.8)
    answers = {"depth": better.answers["depth"], "segmentation": worse.answers["segmentation"]}
    past.write(Prediction(answers, better.features), NOBODY, close)
    past.merge(alone)
    column, row = past.records.cell % GRID[1], past.records.cell // GRID[1]
    inside = (column >= 4) & (column < 12) & (row >= 1) & (row < 5)
    change = (past.records.columns("depth")["log_depth"] - depth)[..., 0].float()
    assert inside.any() and not inside.all()
    assert torch.allclose(change[inside], torch.tensor(-0.3), atol=0.01)
    assert not change[~inside].any()


def test_two_ranks_come_to_the_same_table_as_one() -> None:
    one = RECIPE.build(setting())
    two = [RECIPE.build(setting()) for _ in range(2)]
    for epoch, wrong in enumerate((0.6, 0.3, 0.5)):
        for step in (0, 1):  # each image comes twice an epoch: the later note counts
            at = 2 * epoch + step
            whole = batch(step=at)
            one.write(predict(whole, wrong + 0.1 * step), NOBODY, whole)
            for rank, trajectory in enumerate(two):
                mine = batch(range((rank + step) % 2, IMAGES, 2), step=at)
                trajectory.write(predict(mine, wrong + 0.1 * step), NOBODY, mine)
        one.merge(alone)
        merge_together(two)
    for rank in two:
        for name, values in one.records.tensors.items():
            assert torch.equal(rank.records.tensors[name], values), name


def merge_together(ranks: list[OwnPastTrajectory]) -> None:
    """What the engine's gather does: every rank sees every rank's notes."""
    notes: list[State] = [(rank._notes.tensors(), {}) for rank in ranks]
    for rank in ranks:
        rank.merge(lambda _: notes)


def test_the_shares_of_two_ranks_add_up() -> None:
    past = having_known(0.1)
    whole = past.loss(predict(batch(), 0.5), NOBODY, batch())
    shares = []
    for rank in range(2):
        mine = batch(range(rank, IMAGES, 2))
        shares.append(past.loss(predict(mine, 0.5), NOBODY, mine))
    assert torch.allclose(sum(shares), whole)


def test_the_order_of_writing_does_not_matter() -> None:
    tables = []
    for order in itertools.permutations((range(2), range(2, 4), range(4, 6))):
        past = RECIPE.build(setting())
        for rows in order:
            past.write(predict(batch(rows), 0.2), NOBODY, batch(rows))
        past.merge(alone)
        tables.append(past.records.tensors)
    for table in tables[1:]:
        assert all(torch.equal(tables[0][name], values) for name, values in table.items())


def test_pooled_notes_resume_on_one_rank() -> None:
    """A snapshot within an epoch, of two ranks, goes on with one."""
    two = [RECIPE.build(setting()) for _ in range(2)]
    for rank, trajectory in enumerate(two):
        mine = batch(range(rank, IMAGES, 2))
        trajectory.write(predict(mine, 0.2), NOBODY, mine)
    notes: list[State] = [(rank._notes.tensors(), {}) for rank in two]
    two[0].pool(lambda _: notes)
    two[0].pool(lambda state: [state, *notes])  # a second snapshot finds the same notes again
    assert two[0].loss(predict(batch(), 0.5), NOBODY, batch()) == 0
    resumed = RECIPE.build(setting())
    resumed.load(two[0].state())
    resumed.merge(alone)
    straight = having_known(0.2)
    for name, values in straight.records.tensors.items():
        assert torch.equal(resumed.records.tensors[name], values), name


def test_unlabelled_images_are_judged_by_the_teacher() -> None:
    past = RECIPE.build(setting(range(0), teachers=ONE_TEACHER))
    unseen = batch(labelled=range(0))
    right = {"wise": predict(unseen, 0.0)}
    past.write(predict(unseen, 0.1), right, unseen)
    past.merge(alone)
    assert past.records.known.all()
    assert past.loss(predict(unseen, 0.5), right, unseen) > 0
    now = predict(unseen, 0.5)  # to a teacher with these opinions it is better than the past
    opinions = {"depth": now.answers["depth"], "segmentation": -now.answers["segmentation"]}
    assert past.loss(now, {"wise": Prediction(opinions, {})}, unseen) == 0


def test_with_no_teacher_and_no_label_there_is_no_loss() -> None:
    past = RECIPE.build(setting(range(0)))
    unseen = batch(labelled=range(0))
    past.write(predict(unseen, 0.0), NOBODY, unseen)
    past.merge(alone)
    assert not past.records.known.any()
    assert past.loss(predict(unseen, 0.5), NOBODY, unseen) == 0


def test_the_label_counts_for_more_than_the_teacher() -> None:
    past = RECIPE.build(setting(range(3), teachers=ONE_TEACHER))
    mixed = batch(labelled=range(3))
    fool = {"wise": predict(mixed, 0.9)}
    past.write(predict(mixed, 0.1), fool, mixed)
    past.merge(alone)
    now = predict(mixed, 0.5)
    past.loss(now, fool, mixed).backward()
    pulled = now.answers["depth"].grad.flatten(1).any(1)  # type: ignore[union-attr]
    assert pulled.tolist() == [True] * 3 + [False] * 3


def test_a_labelled_image_without_its_label_is_not_judged() -> None:
    """In an unlabelled slot a labelled image would be judged by another source than its record."""
    past = RECIPE.build(setting(teachers=ONE_TEACHER))
    unseen = batch(labelled=range(0))
    past.write(predict(unseen, 0.0), {"wise": predict(unseen, 0.0)}, unseen)
    past.merge(alone)
    assert not past.records.known.any()


def test_the_gain_rises_over_the_ramp() -> None:
    recipe = OwnPast(gain=2.0, ramp=0.5, points=12, grid=GRID)  # 5 of 10 steps
    past = having_known(0.0, recipe)
    losses = [past.loss(predict(batch(), 0.5), NOBODY, batch(step=step)).item() for step in (0, 1, 5, 9)]
    assert losses[0] == 0
    assert losses[2] == losses[3] == pytest.approx(5 * losses[1])


def test_a_batch_leaves_no_graph_behind() -> None:
    past, now = having_known(0.0), predict(batch(), 0.5)
    past.loss(now, NOBODY, batch())
    past.write(now, NOBODY, batch())
    assert not any(values.requires_grad for values in past.state()[0].values())


def test_it_reports_gate_and_rows() -> None:
    past = having_known(0.0)
    past.loss(predict(batch(), 0.5), NOBODY, batch())
    assert past.log() == {"trajectory/gate_open": 1.0, "trajectory/known": 1.0}
    assert past.log()["trajectory/gate_open"] == 0.0  # nothing since


@pytest.mark.parametrize("choice", ["essential", "attention", "right", "random"])
def test_every_choice_keeps_distinct_points(choice: str) -> None:
    past = having_known(0.3, OwnPast(gain=1.0, points=12, grid=GRID, choice=choice))  # type: ignore[arg-type]
    assert all(len(set(row)) == 12 for row in past.records.cell.tolist())


def test_a_state_of_other_records_is_refused() -> None:
    other = OwnPast(gain=1.0, points=4, grid=GRID).build(setting())
    with pytest.raises(Refusal, match="records differ"):
        RECIPE.build(setting()).load(other.state())


@pytest.mark.parametrize(
    ("recipe", "word"),
    [({"gain": 0.0}, "gain"), ({"ramp": 2.0}, "ramp"), ({"layer": "neck"}, "neck"), ({"points": 999}, "999")],
)
def test_bad_knobs_are_refused(recipe: dict[str, object], word: str) -> None:
    with pytest.raises(Refusal, match=word):
        OwnPast(**recipe).check(setting())  # type: ignore[arg-type]
