"""The loop on one rank: it learns, it resumes, it says what happened."""

import math
from dataclasses import replace

import pytest
import torch

from jointdistill.data.format import write_set
from jointdistill.data.loader import Share, in_order
from jointdistill.engine import keeper, loop
from jointdistill.engine.evaluate import evaluate
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.resume import student_weights
from jointdistill.engine.step import train_step
from jointdistill.experiment import Optimise
from jointdistill.launch.settle import model_files, settle
from jointdistill.launch.work import Note, Outcome, Picture, Work
from jointdistill.launch.worker import build, live, put_together
from jointdistill.nets.saved import load
from jointdistill.store.objects import open_store
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import Card, Diverged, Refusal, StepReport, Stopped
from jointdistill.weighting.none import LabelsOnly
from tests.engine import small


def weights(work: Work) -> bytes:
    return open_store(work.storage).get(f"runs/{work.run}/model/weights.safetensors")


def reports(work: Work) -> dict[tuple[int, str], float]:
    """Every metric by step and name, as the run reports them; what depends on the clock is left out."""
    said = {}
    live(work, lambda message: said.update(_points(message)))
    return said


def _points(message: object) -> dict[tuple[int, str], float]:
    if not isinstance(message, StepReport):
        return {}
    return {
        (message.step, name): value
        for name, value in message.metrics.items()
        if name not in ("images_per_s", "teacher_s")
    }


def test_a_run_lowers_its_losses_and_reports_each_teacher(tmp_path):
    work = small.work(tmp_path, optimise=Optimise(steps=60, learning_rate=5e-3))
    said = reports(work)
    for name in ("loss/labels/depth/supervised", "loss/labels/segmentation/supervised"):
        assert said[60, name] < said[10, name]
    for teacher in ("depth", "segmentation"):
        assert {f"weight/{teacher}/{teacher}", f"gap/{teacher}", f"gate/{teacher}"} <= {
            name for _, name in said
        }


def test_a_picture_shows_image_truth_teacher_and_student_side_by_side(tmp_path):
    from io import BytesIO

    from PIL import Image

    pictures = []
    live(
        small.work(tmp_path),
        lambda message: pictures.append(message) if isinstance(message, Picture) else None,
    )
    (picture,) = pictures
    columns = 1 + 2 * 3  # the image; for each task truth, teacher, student
    assert Image.open(BytesIO(picture.png)).size[0] == columns * (small.SIZE[1] + 2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"trajectory": (OwnPast(),)},
        {"optimise": Optimise(steps=20, ema=0.9)},
        {"optimise": Optimise(steps=20, optimiser="sgd", schedule="constant")},
    ],
    ids=["plain", "own past", "average", "sgd"],
)
def test_stopped_after_a_snapshot_and_resumed_is_as_never_stopped(tmp_path, changes):
    straight = small.work(tmp_path, **changes)
    series = reports(straight)

    stopped = replace(straight, run="stopped")
    told: dict[tuple[int, str], float] = {}

    class Killed(Exception):
        pass

    def die_after_the_first_snapshot(message: object) -> None:
        told.update(_points(message))
        if isinstance(message, StepReport) and message.step > 10:
            raise Killed

    with pytest.raises(Killed):
        live(stopped, die_after_the_first_snapshot)
    resumed = reports(stopped)
    assert weights(stopped) == weights(straight)
    assert told | resumed == series


def test_the_deterministic_switch_gives_equal_bits(tmp_path):
    work = small.work(tmp_path)
    launch = replace(work.launch, deterministic=True)
    try:
        runs = [replace(work, run=name, launch=launch) for name in ("one", "two")]
        assert reports(runs[0]) == reports(runs[1])
        assert weights(runs[0]) == weights(runs[1])
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_student_that_is_exported_is_the_average_where_one_is_kept(tmp_path):
    alone = {"teachers": {}, "distil": (), "weighting": LabelsOnly()}
    slow = small.work(tmp_path, optimise=Optimise(steps=20, ema=0.999), **alone)
    fast = small.work(tmp_path, optimise=Optimise(steps=20), **alone)
    name = "loss/labels/depth/supervised"
    assert reports(slow)[20, name] == reports(fast)[20, name]  # the average only looks on
    assert weights(slow) != weights(fast)


def test_the_student_is_exported_row_by_row_however_the_device_has_it(tmp_path):
    """safetensors takes nothing else; on CUDA a student has its channels last."""
    parts = build(small.work(tmp_path), Ranks(torch.device("cpu")), lambda message: None).parts
    parts.network.to(memory_format=torch.channels_last)
    assert not all(parameter.is_contiguous() for parameter in parts.network.parameters())
    found = student_weights(parts)
    assert all(weight.is_contiguous() for weight in found.values())
    for name, parameter in parts.network.named_parameters():
        assert torch.equal(found[name], parameter)


def test_without_teachers_nothing_but_labels_is_learnt_from(tmp_path):
    work = small.work(tmp_path, teachers={}, distil=(), weighting=LabelsOnly())
    assert {
        name.split("/")[1] for _, name in reports(work) if name.startswith("loss/") and "/" in name[5:]
    } == {"labels"}


def test_a_run_without_any_label_learns_from_its_teachers(tmp_path):
    none = replace(
        small.experiment(tmp_path).sampling, labelled=0, labels={"depth": 0.0, "segmentation": 0.0}
    )
    said = reports(small.work(tmp_path, sampling=none))
    assert not [name for _, name in said if name.startswith("loss/labels")]
    name = "loss/segmentation/segmentation/tempered_kl"
    assert said[20, name] < said[10, name]


def test_a_data_set_without_any_label_is_learnt_from_teachers_alone(tmp_path):
    experiment = small.experiment(tmp_path)
    store = open_store(str(tmp_path / "storage" / "data" / "bare"))
    frames = {"train": small.rows(0, 32), "val": small.rows(100, 6)}
    bare = {split: (row._replace(truths={}) for row in rows) for split, rows in frames.items()}
    write_set(store, Card("bare", classes=small.CLASSES, height=32, width=64), bare, ["depth", "labels"])
    messages: list[object] = []
    sampling = replace(experiment.sampling, labelled=0)
    experiment = replace(experiment, data="bare", sampling=sampling, floors={"depth/abs_rel": 0.5})
    work = settle(experiment, small.launch(tmp_path)).work
    outcome = live(work, messages.append)
    assert isinstance(outcome, Outcome)
    assert outcome.scores == {}
    notes = [message.text for message in messages if isinstance(message, Note)]
    assert "Nobody checked the floor depth/abs_rel: the feedback slice has no label of it." in notes
    assert any(note.startswith("Competence hears nothing of depth, segmentation") for note in notes)
    assert [message for message in messages if isinstance(message, Picture)]


def test_hidden_labels_never_reach_a_batch(tmp_path):
    loop = build(small.work(tmp_path), Ranks(torch.device("cpu")), lambda message: None)
    for step in range(12):
        batch = loop.loader.batch(step)
        for task, truth in batch.truth.items():
            hidden = truth[~batch.present[task]]
            assert (hidden.isnan() if truth.is_floating_point() else hidden == 255).all()


def test_a_teacher_below_the_floor_is_named_with_its_score(tmp_path):
    work = small.work(tmp_path, floors={"segmentation/miou": 0.9})
    with pytest.raises(
        Refusal, match=r"teacher 'segmentation' reaches segmentation/miou 0\.\d+ .* floor is 0\.900"
    ):
        live(work, lambda message: None)


def test_micro_batches_add_up_to_the_whole(tmp_path):
    work = small.work(tmp_path)
    whole = reports(replace(work, run="whole"))
    pieces = reports(replace(work, run="pieces", launch=replace(work.launch, micro_batch=2)))
    for point, value in whole.items():
        assert pieces[point] == pytest.approx(value, rel=1e-3, abs=1e-4), point


def test_a_teacher_that_turns_nan_is_left_out_and_the_run_goes_on(tmp_path, monkeypatch):
    from jointdistill.teachers.registered import RegisteredTeacher

    answer = RegisteredTeacher.forward

    def sick(self, batch):
        said = answer(self, batch)
        for values in said.answers.values():
            values[0] = torch.nan
        return said

    work = small.work(tmp_path)
    monkeypatch.setattr(RegisteredTeacher, "forward", sick)
    messages: list[object] = []
    live(replace(work, run="sick"), messages.append)
    said = {point: value for message in messages for point, value in _points(message).items()}
    assert said[20, "finite_steps"] == 1
    assert said[20, "unsound_images"] == 10  # the first image of each of the ten steps
    assert all(math.isfinite(value) for value in said.values())
    loader = build(work, Ranks(torch.device("cpu")), lambda message: None).loader
    first_images = sorted({loader.batch(step).keys[0] for step in range(10)})
    (note, _) = [message.text for message in messages if isinstance(message, Note)]
    assert note.startswith("Up to step 10 a loss, or a teacher's answer, was not finite on some images")
    assert ", ".join(first_images[:8]) in note


def test_one_bad_step_after_a_resume_does_not_end_a_run(tmp_path, monkeypatch):
    work = small.work(tmp_path)
    with pytest.raises(Stopped):
        live(replace(work, until=19), lambda message: None)
    monkeypatch.setattr(loop, "train_step", _without_gradient)
    said = reports(work)
    assert said[20, "finite_steps"] == 0.9  # nine of the ten came before the stop


def test_an_interval_without_a_gradient_ends_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_step", _without_gradient)
    with pytest.raises(Diverged, match=r"^No gradient was finite in the 10 steps before step 10:"):
        live(small.work(tmp_path), lambda message: None)


def _without_gradient(batch, parts):
    return replace(train_step(batch, parts), finite=torch.tensor(False))


def test_a_rungs_snapshot_is_written_once(tmp_path, monkeypatch):
    taken = []
    take = keeper.take
    monkeypatch.setattr(keeper, "take", lambda parts: taken.append(parts.step) or take(parts))
    with pytest.raises(Stopped, match="after step 10, with a snapshot"):
        live(replace(small.work(tmp_path), until=10), lambda message: None)
    assert taken == [10]


def test_what_is_exported_is_what_was_scored_whatever_it_trained_in(tmp_path):
    optimise = Optimise(steps=20, learning_rate=5e-3, precision="bfloat16")
    work = small.work(tmp_path, optimise=optimise)
    outcome = live(work, lambda message: None)
    _, network = load(model_files(open_store(work.storage), work.run), "student")
    examiner = put_together(work, Ranks(torch.device("cpu")), lambda message: None).examiner
    cache, tasks = examiner.validation, examiner.parts.tasks
    batches = in_order(cache, tasks, {task: cache.has(task).nonzero()[0] for task in tasks}, Share())
    network.eval()
    found = evaluate(lambda batch: network(batch.image), batches, tasks, examiner.parts.ranks)
    assert found.scores == outcome.scores


def test_the_outcome_is_published_with_the_model(tmp_path):
    work = small.work(tmp_path)
    outcome = live(work, lambda message: None)
    assert isinstance(outcome, Outcome)
    assert outcome.scores.keys() >= {"depth/abs_rel", "depth/delta1", "segmentation/miou"}
    assert outcome.digest in open_store(work.storage).get(f"runs/{work.run}/model/model.json").decode()
