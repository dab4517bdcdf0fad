"""A whole run in miniature: 32 images of 32x64, two teachers with random weights, a small student."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from safetensors.torch import save as weights_file

from jointdistill.data.cells import encode_npy, encode_png
from jointdistill.data.format import write_set
from jointdistill.data.sampling import Sampling
from jointdistill.data.shards import Row
from jointdistill.distill.attention_map import AttentionMap
from jointdistill.distill.log_depth_l1 import LogDepthL1
from jointdistill.distill.tempered_kl import TemperedKL
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.settle import settle
from jointdistill.launch.work import Work
from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import Model, save
from jointdistill.nets.way import INDEX, Moment, write_index
from jointdistill.place import Launch
from jointdistill.store.objects import open_store
from jointdistill.tasks.base import Task
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.teachers.registered import Registered
from jointdistill.types import Card
from jointdistill.weighting.competence import Competence

CLASSES = ("ground", "box", "sky")
TASKS: dict[str, Task] = {"depth": Depth(), "segmentation": Segmentation()}
SIZE = (32, 64)


def rows(first: int, count: int) -> Iterator[Row]:
    """Frames with a box on the ground before the sky; every third one has no depth."""
    height, width = SIZE
    for number in range(first, first + count):
        generator = np.random.default_rng(number)
        depth = np.full(SIZE, np.nan, np.float32)
        depth[height // 2 :] = 40 / np.arange(1, height // 2 + 1, dtype=np.float32)[:, None]
        labels = np.full(SIZE, 2, np.uint8)
        labels[height // 2 :] = 0
        top, left = generator.integers(4, 16), generator.integers(0, width - 20)
        labels[top : top + 16, left : left + 20] = 1
        depth[top : top + 16, left : left + 20] = generator.uniform(2, 20)
        image = np.stack([labels * 100, np.nan_to_num(depth) * 3, generator.integers(0, 60, SIZE)], -1)
        truths = {"labels": encode_png(labels)}
        if number % 3:
            truths["depth"] = encode_npy(depth)
        yield Row(f"frame-{number:04d}", encode_png(image.astype(np.uint8)), truths)


def teacher(
    folder: Path, task: str, seed: int, data: str = "", scores: Mapping[str, float] = MappingProxyType({})
) -> Registered:
    """A saved single-task network with random weights, and what it says of itself."""
    torch.manual_seed(seed)
    tasks = {task: TASKS[task].described_by(Card("small", classes=CLASSES))}
    recipe = Joint(width=8, decoder=16)
    store = open_store(str(folder))
    model = Model(recipe, tasks, *SIZE, data, scores)
    for name, content in save(model, recipe.build(tasks).state_dict()).items():
        store.put(name, content)
    return Registered(str(folder))


def give_way(folder: Path, steps: Sequence[int]) -> None:
    """Random moments for the depth teacher of a folder, as if it had been trained here."""
    store = open_store(str(folder / "teachers" / "depth"))
    way = []
    for step in steps:
        torch.manual_seed(step)
        content = weights_file(Joint(width=8, decoder=16).build({"depth": TASKS["depth"]}).state_dict())
        way.append(Moment.of(step, {"depth": 1 / step}, content))
        store.put(way[-1].file, content)
    store.put(INDEX, write_index(way))


def experiment(folder: Path) -> Experiment:
    """A run of a few steps with two teachers; its data and teachers are written to the folder first."""
    data = folder / "storage" / "data" / "small"
    if not data.exists():
        write_set(
            open_store(str(data)),
            Card("small", classes=CLASSES, height=SIZE[0], width=SIZE[1], feedback=0.2),
            {"train": rows(0, 32), "val": rows(100, 6)},
            ["depth", "labels"],
        )
        for seed, task in enumerate(TASKS):
            teacher(folder / "teachers" / task, task, seed)
    return Experiment(
        name="small",
        data="small",
        tasks=TASKS,
        student=Joint(width=4, decoder=8),
        teachers={task: Registered(str(folder / "teachers" / task)) for task in TASKS},
        distil=(LogDepthL1(), TemperedKL(), AttentionMap("segmentation", "decoder")),
        weighting=Competence(warmup_steps=5),
        sampling=Sampling(batch=7, labelled=3, labels={"depth": 0.4, "segmentation": 0.4}),
        optimise=Optimise(steps=20, learning_rate=5e-3),
    )


def launch(folder: Path) -> Launch:
    """In this process, everything below the folder."""
    return Launch(
        storage=str(folder / "storage"),
        tracking=f"sqlite:///{folder / 'mlflow.db'}",
        cache=str(folder / "cache"),
        workers=0,
        threads=1,
        report_every=10,
        snapshot_every=10,
    )


def work(folder: Path, **changes: object) -> Work:
    """The settled run, with some knobs of the experiment changed."""
    return settle(replace(experiment(folder), **changes), launch(folder)).work  # type: ignore[arg-type]
