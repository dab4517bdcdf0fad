"""Teachers at work in a whole run: several of one task, a user's own among them, and one with a way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from jointdistill.data.sampling import Sampling
from jointdistill.engine.evaluate import evaluate
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.remember import Replay
from jointdistill.launch.worker import build, live, put_together
from jointdistill.nets.joint import Joint
from jointdistill.nets.way import Moment
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher, TeacherCard, TeacherRecipe
from jointdistill.teachers.module import ModuleTeacher
from jointdistill.teachers.registered import Registered, RegisteredTeacher
from jointdistill.trajectory.teacher_way import TeacherWay
from jointdistill.types import StepReport
from jointdistill.weighting.none import LabelsOnly
from tests.engine import small

ALONE = Ranks(torch.device("cpu"))


@dataclass(frozen=True)
class Flat(TeacherRecipe):
    """A network of a user's own that says the same of every pixel."""

    metres: float = 5.0

    def build(self, tasks: Mapping[str, Task], store: Store) -> Teacher:
        network = nn.Conv2d(3, 1, 1)
        nn.init.zeros_(network.weight)
        nn.init.constant_(network.bias, self.metres)  # type: ignore[arg-type]
        card = TeacherCard(tasks=("depth",), units={"depth": "metre"})
        return ModuleTeacher(network, card, lambda out: {"depth": out}, tasks).freeze()


def metrics(work: object) -> dict[str, float]:
    """The last report of a run."""
    said: list[dict[str, float]] = []
    live(work, lambda message: said.append(message.metrics) if isinstance(message, StepReport) else None)  # type: ignore[arg-type]
    return {name: value for one in said for name, value in one.items()}


def test_several_teachers_of_one_task_share_its_weight(tmp_path: Path) -> None:
    small.experiment(tmp_path)
    teachers = {
        "expert": Registered(str(tmp_path / "teachers" / "depth")),
        "flat": Flat(),
        "farther": Flat(20.0),
        "segmentation": Registered(str(tmp_path / "teachers" / "segmentation")),
    }
    said = metrics(small.work(tmp_path, teachers=teachers))
    shares = [said[f"weight/{name}/depth"] for name in ("expert", "flat", "farther")]
    assert all(share > 0 for share in shares)
    assert sum(shares) + said["weight/segmentation/segmentation"] == pytest.approx(2)  # the number of tasks
    assert {f"loss/{name}/depth/log_depth_l1" for name in ("expert", "flat", "farther")} <= said.keys()


@pytest.fixture(scope="module")
def with_a_way(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a depth teacher that was trained here, and kept three moments of its way."""
    folder = tmp_path_factory.mktemp("way")
    teacher = small.work(
        folder,
        tasks={"depth": small.TASKS["depth"]},
        student=Joint(width=8, decoder=16),
        teachers={},
        distil=(),
        weighting=LabelsOnly(),
        sampling=Sampling(batch=6, labelled=6),
        anchors=3,
    )
    live(teacher, lambda message: None)
    Path(folder, "teacher").symlink_to(Path(teacher.storage, "runs", teacher.run, "model"))
    return folder


def test_a_teachers_way_is_replayed_on_the_students_images_and_scored_on_its_slice(
    with_a_way: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TeacherWay(grid=(8, 16), points=8)
    teachers = {"depth": Registered(str(with_a_way / "teacher"))}
    teachers["segmentation"] = Registered(str(with_a_way / "teachers" / "segmentation"))
    work = small.work(with_a_way, teachers=teachers, trajectory=(recipe,))
    loop = put_together(work, ALONE, lambda message: None)
    examiner, teacher = loop.examiner, loop.parts.teachers["depth"]
    tasks = {"depth": loop.parts.tasks["depth"]}
    layout = recipe.replayed(tasks)
    assert layout is not None
    anchors = Replay(examiner, layout).of(teacher, tasks)
    assert [anchor.step for anchor in anchors] == [5, 10, 20]
    for anchor, moment in zip(anchors, teacher.way, strict=True):
        batches = examiner._batches(examiner.train, {"depth": examiner.slices.feedback["depth"]})
        assert anchor.loss == evaluate(teacher.at(moment), batches, tasks, ALONE).losses
        assert anchor.records.known[torch.from_numpy(examiner.slices.train)].all()

    said = metrics(work)
    assert said["trajectory/anchor/depth"] in (0.0, 1.0, 2.0)
    kept = [*open_store(work.storage).list(f"trajectories/{teacher.card.digest}")]
    assert len(kept) == 3 + 3 + 1  # parts, manifests, index
    fetched: list[Moment] = []
    monkeypatch.setattr(RegisteredTeacher, "at", lambda teacher, moment: fetched.append(moment))
    again = build(work, ALONE, lambda message: None)
    assert again.resume()
    assert not fetched  # what lies there is not asked for again
