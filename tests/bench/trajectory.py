"""What a trajectory costs a step on one thread, in processor milliseconds (median).

Run `python tests/bench/trajectory.py 16` for 16 images.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import torch

from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.trajectory.base import Setting
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import Batch, Position, Prediction
from jointdistill.warp import Warp

SIZE = (64, 128)
CLASSES = tuple(f"class {number}" for number in range(13))


def main(images: int, rounds: int = 60) -> None:
    """Time loss, its backward and write on a batch, half of it labelled."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    tasks = {"depth": Depth(), "segmentation": Segmentation(classes=CLASSES)}
    setting = Setting(
        tasks=tasks,
        layers=("decoder",),
        images=512,
        labelled=dict.fromkeys(tasks, frozenset(range(images // 2))),
        heard=frozenset(tasks),
        teachers={"wise": tuple(tasks)},
        moments={},
        steps=100,
        seed=0,
        device=torch.device("cpu"),
    )
    batch = Batch(
        keys=tuple(str(number) for number in range(images)),
        index=torch.arange(images),
        slots=torch.arange(images),
        image=torch.rand(images, 3, *SIZE, generator=generator),
        truth={
            "depth": torch.rand(images, 1, *SIZE, generator=generator) * 10 + 0.5,
            "segmentation": torch.randint(0, len(CLASSES), (images, *SIZE), generator=generator),
        },
        present=dict.fromkeys(tasks, torch.arange(images) < images // 2),
        count=dict.fromkeys(tasks, images // 2),
        total=images,
        labelled=images // 2,
        position=Position(0, 0, 1),
        warp=Warp(torch.tensor([[1.2, 0, -0.1], [0, 1.2, -0.1], [0, 0, 1]]).repeat(images, 1, 1)),
    )
    past = OwnPast().build(setting)
    taught = {"wise": _predict(images, generator)}
    past.write(_predict(images, generator), taught, batch)
    past.merge(lambda state: [state])

    batch = replace(batch, position=Position(0, 1, 50))
    spent: dict[str, list[float]] = {"loss": [], "backward": [], "write": []}
    for _ in range(rounds):
        now = _predict(images, generator)
        began = time.process_time()
        loss = past.loss(now, taught, batch)
        spent["loss"].append(time.process_time() - began)
        began = time.process_time()
        loss.backward()  # type: ignore[no-untyped-call]
        spent["backward"].append(time.process_time() - began)
        began = time.process_time()
        past.write(now, taught, batch)
        spent["write"].append(time.process_time() - began)
    for name, seconds in spent.items():
        print(f"{images} images  {name:9} {1000 * sorted(seconds)[rounds // 2]:.2f} ms")


def _predict(images: int, generator: torch.Generator) -> Prediction:
    """Answers of a network that works at half the image's size."""
    half = (SIZE[0] // 2, SIZE[1] // 2)
    depth = (torch.rand(images, 1, *half, generator=generator) * 10 + 0.5).requires_grad_()
    logits = torch.randn(images, len(CLASSES), *half, generator=generator).requires_grad_()
    features = torch.randn(images, 32, *half, generator=generator)
    return Prediction({"depth": depth, "segmentation": logits}, {"decoder": features})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
