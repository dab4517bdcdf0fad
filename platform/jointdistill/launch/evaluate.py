"""Scores of a saved network on a split of a data set."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro

from jointdistill.data.cache import Cache, build_cache
from jointdistill.data.loader import Share, in_order
from jointdistill.engine.evaluate import Scores, evaluate
from jointdistill.engine.ranks import Ranks
from jointdistill.launch.addresses import absolute, cache_of, card_at, data_of, network_at
from jointdistill.launch.console import CONSOLE, table
from jointdistill.nets.joint import JointNet, at_size
from jointdistill.nets.saved import Model
from jointdistill.place import Place
from jointdistill.store.objects import open_store
from jointdistill.tasks.base import Task
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import JSON, Batch, Card, Prediction, Refusal


@dataclass(frozen=True)
class EvaluateOrder:
    """What a user wants scored."""

    model: str = "models:/student@champion"
    """models:/NAME@champion, models:/NAME/3, or the folder of a saved model."""
    data: str = ""
    """Folder or URI of the data set; empty: data/scenes in the storage."""
    split: str = "val"
    """Split of the data set."""
    output: str = ""
    """JSON file to write the scores to; empty: none."""
    cache: str = ""
    """Folder of this machine for decoded images; empty: JOINTDISTILL_CACHE, or else ~/.cache/jointdistill."""
    place: Annotated[Place, tyro.conf.arg(name="")] = field(default_factory=Place)


def evaluate_saved(order: EvaluateOrder) -> Scores:
    """Score a saved network, print the table, and write the JSON where one is asked for.

    Raises `Refusal` where the model or the data cannot be had, or they do not go together.
    """
    output = Path(absolute(order.output, "--output")) if order.output else None
    if output and output.exists():
        raise Refusal(f"{output} is there already: choose another --output, or remove it.")
    data = data_of("scenes", order.place.storage, order.data)
    card = card_at(data)
    model, network = network_at(order.model, order.place)
    tasks = _tasks_of(model, card, order.model)
    cache = build_cache(open_store(data), card, order.split, tasks, cache_of(order.cache))
    scores = score(model, network, cache, tasks)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    row = {**scores, "parameters": float(parameters)}
    CONSOLE.print(order.model, soft_wrap=True)
    CONSOLE.print(table(f"{card.name}, {order.split}: {len(cache)} images", [("", row)], tasks))
    if output:
        report: dict[str, JSON] = {
            "model": order.model, "digest": model.digest, "data": data, "fingerprint": card.fingerprint,
            "split": order.split, "images": len(cache), "parameters": parameters, "scores": dict(scores),
            "counted": {name: list(task.counted) for name, task in tasks.items()},
        }  # fmt: skip
        _write(output, json.dumps(report, indent=2))
    return scores


@torch.inference_mode()
def score(model: Model, network: JointNet, cache: Cache, tasks: dict[str, Task]) -> Scores:
    """`task/metric` → score of a network over all images of a split that carry a label."""
    ranks = Ranks(next(network.parameters()).device)

    def answer(batch: Batch) -> Prediction:
        return network(at_size(batch.image, model.height, model.width))  # type: ignore[no-any-return]

    labels = {task: cache.has(task).nonzero()[0] for task in tasks}
    return evaluate(answer, in_order(cache, tasks, labels, Share()), tasks, ranks).scores


def _tasks_of(model: Model, card: Card, address: str) -> dict[str, Task]:
    """The model's tasks, if the data set means the same by them."""
    for task in model.tasks.values():
        if isinstance(task, Segmentation) and task.classes != card.classes:
            raise Refusal(
                f"The model '{address}' knows {len(task.classes)} classes, and data set '{card.name}' has "
                f"{len(card.classes)} others: evaluate it on data with its own classes."
            )
    return dict(model.tasks)


def _write(output: Path, report: str) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(f"{report}\n")
    except OSError as error:
        raise Refusal(f"{output} cannot be written ({error}): choose another --output.") from error
