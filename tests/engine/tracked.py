"""What the tests about MLflow share: a database in a folder, an experiment, a small saved network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save as save_tensors

from jointdistill.data.sampling import Sampling
from jointdistill.engine.subject import Subject
from jointdistill.engine.tracking import Tracking
from jointdistill.experiment import Experiment
from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import Model, save
from jointdistill.nets.way import INDEX, Moment, write_index
from jointdistill.store.objects import open_store
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import StepReport
from jointdistill.weighting.equal import Equal

CLASSES = ("sky", "road", "tree")
TASKS = {"depth": Depth(), "segmentation": Segmentation(CLASSES, ((0, 0, 0), (1, 1, 1), (2, 2, 2)))}
SCORES = {"depth/abs_rel": 0.20, "segmentation/miou": 0.50}


def track(folder: Path, address: str = "") -> Tracking:
    """Tracking in a folder; its database is copied, since making one takes seconds."""
    folder.mkdir(exist_ok=True)
    database = folder / "mlflow.db"
    if not address and not database.exists():
        database.write_bytes(_blank_database())
    return Tracking.at(address or f"sqlite:///{database}", "demo", open_store(str(folder / "store")))


def subject(seed: int = 0, **teachers: str) -> Subject:
    experiment = Experiment(
        "demo", {"depth": Depth()}, Equal(), sampling=Sampling(batch=4, labelled=4), seed=seed
    )
    return Subject.of(experiment, "data-fingerprint", teachers)


def report(step: int, **metrics: float) -> StepReport:
    return StepReport(step, 0, {"loss/labels/depth": 1 / step, **metrics})


def saved(
    seed: int = 0, scores: Mapping[str, float] = SCORES, data: str = "data-fingerprint"
) -> dict[str, bytes]:
    """The files of a small network for both tasks, its weights drawn from a seed."""
    torch.manual_seed(seed)
    model = Model(Joint(width=4, decoder=8), TASKS, 16, 24, data, scores)
    return save(model, model.network.build(TASKS).state_dict())


def with_way(files: dict[str, bytes], steps: tuple[int, ...] = (2, 8)) -> dict[str, bytes]:
    """With an anchor at each step, each of other weights."""
    way, weights = [], {}
    for step in steps:
        torch.manual_seed(100 + step)
        content = save_tensors(Joint(width=4, decoder=8).build(TASKS).state_dict())
        way.append(Moment.of(step, {"depth": 1 / step}, content))
        weights[way[-1].file] = content
    return {**files, **weights, INDEX: write_index(way)}


def write(files: Mapping[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return folder


@cache
def _blank_database() -> bytes:
    with TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        tracking = Tracking.at(f"sqlite:///{database}", "another", open_store(folder))
        del tracking
        return database.read_bytes()
