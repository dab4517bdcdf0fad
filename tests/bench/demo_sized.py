"""The demo's distillation with nothing to train first: its sizes, drawn scenes, random teachers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import save as weights_file

from jointdistill.data.drawn import DrawnScenes
from jointdistill.data.format import write_set
from jointdistill.data.sampling import Sampling
from jointdistill.data.shards import Row
from jointdistill.distill.log_depth_l1 import LogDepthL1
from jointdistill.distill.tempered_kl import TemperedKL
from jointdistill.experiment import Experiment, Optimise
from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import Model, save
from jointdistill.nets.way import INDEX, Moment, write_index
from jointdistill.place import Launch
from jointdistill.store.objects import open_store
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.teachers.registered import Registered
from jointdistill.weighting.competence import Competence

SCENES = DrawnScenes(splits={"train": 100, "val": 8})
COPIES = 30
"""How often each scene comes in the long data set: an epoch is as long as the demo's, and so is the slice
that is listened to at its end. Larger scenes come less often, lest the machine's memory be too small."""
TASKS = {"depth": Depth(), "segmentation": Segmentation()}


def prepare(folder: Path, scenes: DrawnScenes = SCENES, width: int = 12) -> Experiment:
    """The demo's default student, or a wider one. Draws the data sets `long` and `short`, in which each scene
    comes once, and writes the teachers, a third wider than the student."""
    copies = max(1, COPIES * SCENES.height * SCENES.width // (scenes.height * scenes.width))
    # Not by fork: torch has threads already.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        drawn = {split: list(pool.map(scenes.row, scenes.numbers(split))) for split in scenes.splits}
    for name, times in (("long", copies), ("short", 1)):
        splits = {"train": repeated(drawn["train"], times), "val": iter(drawn["val"])}
        write_set(open_store(f"{folder}/storage/data/{name}"), scenes.card, splits, ["depth", "labels"])
    return Experiment(
        name="bench",
        data="long",
        tasks=TASKS,
        student=Joint(width=width, decoder=8 * width // 3),
        teachers={task: teacher(folder / "teachers" / task, task, scenes, 4 * width // 3) for task in TASKS},
        distil=(LogDepthL1(), TemperedKL()),
        weighting=Competence(),
        sampling=Sampling(batch=16, labelled=8, labels=dict.fromkeys(TASKS, 0.05)),
        optimise=Optimise(),
    )


def repeated(rows: Sequence[Row], copies: int) -> Iterator[Row]:
    """Each row some times, each time under another key."""
    return (row._replace(key=f"{row.key}-{copy}") for copy in range(copies) for row in rows)


def teacher(folder: Path, task: str, scenes: DrawnScenes, width: int) -> Registered:
    """One of the demo's teachers before it learnt anything. It has a way, and no student comes near the
    losses that stand in it."""
    tasks = {task: TASKS[task].described_by(scenes.card)}
    recipe, store = Joint(width=width, blocks=2, decoder=2 * width), open_store(str(folder))
    way = []
    for step, loss in ((100, 1e-3), (200, 1e-4)):
        content = weights_file(recipe.build(tasks).state_dict())
        way.append(Moment.of(step, {task: loss}, content))
        store.put(way[-1].file, content)
    store.put(INDEX, write_index(way))
    model = Model(recipe, tasks, scenes.height, scenes.width)
    for name, content in save(model, recipe.build(tasks).state_dict()).items():
        store.put(name, content)
    return Registered(str(folder))


def launch(folder: Path, workers: int) -> Launch:
    """One thread a worker; everything below the folder."""
    return Launch(
        storage=f"{folder}/storage",
        tracking=f"sqlite:///{folder}/mlflow.db",
        cache=f"{folder}/cache",
        workers=workers,
        threads=1,
    )


def finish(device: torch.device) -> None:
    """Wait until a device has done all it was told: a CUDA device runs behind."""
    if device.type == "cuda":
        torch.cuda.synchronize()
