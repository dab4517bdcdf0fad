"""What the engine gives to methods that are not shipped: a third task, a gradient-based weighting."""

import numpy as np
import pytest
import torch

from jointdistill.data.cells import encode_npy
from jointdistill.data.format import write_set
from jointdistill.data.sampling import Sampling
from jointdistill.engine.gram import gram
from jointdistill.engine.objective import ask
from jointdistill.engine.ranks import Ranks
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.settle import settle
from jointdistill.launch.worker import build, live
from jointdistill.nets.joint import Joint
from jointdistill.store.objects import open_store
from jointdistill.types import Card, StepReport
from jointdistill.weighting.none import LabelsOnly
from tests.engine import small
from tests.tasks.normals import Normals

ALONE = Ranks(torch.device("cpu"))


def test_surface_normals_join_as_one_file_and_are_learnt(tmp_path):
    def with_normals(rows):
        for row in rows:
            facing = np.zeros((*small.SIZE, 3), np.float32)
            facing[: small.SIZE[0] // 2, :, 2] = 1
            facing[small.SIZE[0] // 2 :, :, 1] = 1
            yield row._replace(truths=dict(row.truths) | {"normals": encode_npy(facing)})

    write_set(
        open_store(str(tmp_path / "storage" / "data" / "small")),
        Card("small", classes=small.CLASSES, height=small.SIZE[0], width=small.SIZE[1], feedback=0.2),
        {"train": with_normals(small.rows(0, 16)), "val": with_normals(small.rows(100, 4))},
        ["depth", "labels", "normals"],
    )
    experiment = Experiment(
        name="three",
        data="small",
        tasks=small.TASKS | {"normals": Normals()},
        student=Joint(width=4, decoder=8),
        weighting=LabelsOnly(),
        sampling=Sampling(batch=6, labelled=6),
        optimise=Optimise(steps=40, learning_rate=1e-2),
    )
    said = {}

    def note(message):
        if isinstance(message, StepReport):
            said.update({(message.step, name): value for name, value in message.metrics.items()})

    outcome = live(settle(experiment, small.launch(tmp_path)).work, note)
    assert said[40, "loss/labels/normals/supervised"] < said[10, "loss/labels/normals/supervised"]
    assert any(name.startswith("normals/") for name in outcome.scores)


def test_the_gram_matrix_is_that_of_gradients_at_the_shared_feature(tmp_path):
    loop = build(small.work(tmp_path), ALONE, lambda message: None)
    parts = loop.parts
    batch = parts.augment(loop.loader.batch(3), parts.tasks)
    predicted = parts.student(batch.image)
    losses = parts.objective(predicted, ask(parts.teachers, batch), batch)
    found = gram(losses, predicted, ALONE)
    gradients = torch.stack(
        [
            torch.autograd.grad(mean, predicted.shared, retain_graph=True)[0].flatten()
            for mean in losses.mean()
        ]
    )
    torch.testing.assert_close(found, gradients @ gradients.T)


def test_a_teachers_loss_is_told_where_there_are_labels(tmp_path):
    loop = build(small.work(tmp_path), ALONE, lambda message: None)
    parts = loop.parts
    batch = parts.augment(loop.loader.batch(3), parts.tasks)
    batch.image[2] = torch.nan  # so the teachers' answers are as well
    taught = ask(parts.teachers, batch)
    told = parts.objective.of_teachers(taught, batch)
    assert told.shape == (len(parts.objective.terms), len(batch))
    for term, row in zip(parts.objective.terms, told, strict=True):
        known = batch.present[term.task] & term.taught & (torch.arange(len(batch)) != 2)
        assert torch.equal(row.isfinite(), known)
        if term.taught:
            assert known.any()
            rows, task = known.nonzero().flatten(), parts.tasks[term.task]
            answer = taught[term.source].answers[term.task][rows]
            torch.testing.assert_close(row[rows], task.loss(answer, batch.truth[term.task][rows]))


def test_a_weighting_that_asks_for_teachers_losses_trains(tmp_path):
    from tests.weighting.confidence import Confidence

    depth = small.teacher(tmp_path / "teachers" / "another", "depth", seed=7)
    experiment = small.experiment(tmp_path)
    work = small.work(tmp_path, weighting=Confidence(), teachers={**experiment.teachers, "another": depth})
    said = {}

    def note(message):
        if isinstance(message, StepReport):
            said.update(message.metrics)

    live(work, note)
    shares = {name: said[f"effective/{name}/depth/log_depth_l1"] for name in ("depth", "another")}
    assert sum(shares.values()) == pytest.approx(1)
    reports = build(work, ALONE, lambda message: None).teachers
    assert max(shares, key=shares.__getitem__) == min(shares, key=lambda name: reports[name].losses["depth"])


def test_a_weighting_that_asks_for_gradients_trains(tmp_path):
    from tests.weighting.surgery import Surgery

    work = small.work(tmp_path, weighting=Surgery())
    seen = []
    live(work, lambda message: seen.append(message) if isinstance(message, StepReport) else None)
    assert seen[-1].metrics["finite_steps"] == 1
    assert seen[-1].step == 20


def test_a_learned_weighting_is_trained_and_resumed_with_the_student(tmp_path):
    from tests.weighting.uncertainty import Uncertainty

    work = small.work(tmp_path, weighting=Uncertainty())
    loop = build(work, ALONE, lambda message: None)
    before = [parameter.detach().clone() for parameter in loop.parts.weighting.parameters()]
    assert not loop.resume()
    loop.run()
    loop.outside.writer.wait()
    assert all(not torch.equal(b, p) for b, p in zip(before, loop.parts.weighting.parameters(), strict=True))
    again = build(work, ALONE, lambda message: None)
    assert again.resume()
    for old, new in zip(loop.parts.weighting.parameters(), again.parts.weighting.parameters(), strict=True):
        assert torch.equal(old, new)


def test_the_last_statistics_are_kept_for_weightings_that_look_at_them(tmp_path):
    work = small.work(tmp_path)
    loop = build(work, ALONE, lambda message: None)
    loop.resume()
    loop.run()
    loop.outside.writer.wait()
    again = build(work, ALONE, lambda message: None)
    assert again.resume()
    assert again.parts.stats.step == loop.parts.stats.step == 20
    torch.testing.assert_close(again.parts.stats.window, loop.parts.stats.window, equal_nan=True)
