"""A network as files: `model.json` (what it is) and `weights.safetensors` (what it knows).

It is rebuilt from our own code. Nothing is unpickled, and the digest is checked before the weights are
used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from jointdistill.nets.joint import Joint, JointNet
from jointdistill.recipe import describe, recipes_in, restore
from jointdistill.tasks.base import Task
from jointdistill.types import JSON, Refusal

DESCRIPTION = "model.json"
WEIGHTS = "weights.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Model:
    """What a saved network says of itself: student and teacher cards are read from it."""

    network: Joint
    tasks: Mapping[str, Task]
    height: int
    width: int
    """The resolution it was trained at."""
    data: str = ""
    """Fingerprint of the data set it was trained on."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """`task/metric` → score on the validation split of that data set."""
    digest: str = ""
    """sha256 of the weights and of all of the above but the scores."""


def save(model: Model, weights: Mapping[str, Tensor]) -> dict[str, bytes]:
    """File name → content, with the digest filled in."""
    tensors = save_tensors({name: value.contiguous() for name, value in weights.items()})
    model = replace(model, digest=_digest(model, tensors))
    text = json.dumps({"format": FORMAT, **cast("dict[str, JSON]", describe(model))}, indent=2)
    return {DESCRIPTION: text.encode(), WEIGHTS: tensors}


def read_description(content: bytes, name: str) -> Model:
    """The description of a saved network. Raises `Refusal`, naming the model `name`."""
    try:
        said = json.loads(content)
        if said["format"] != FORMAT:
            raise ValueError(f"it has format {said['format']}, and this version reads {FORMAT}")
        tasks = recipes_in("jointdistill.tasks", Task)
        return Model(
            network=cast(Joint, restore(said["network"], {"joint": Joint})),
            tasks={task: cast(Task, restore(what, tasks)) for task, what in said["tasks"].items()},
            **{knob: said[knob] for knob in ("height", "width", "data", "scores", "digest")},
        )
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise Refusal(
            f"The model '{name}' cannot be read: {wrong}. Train it again, or give one that this "
            "version wrote."
        ) from wrong


def load(files: Mapping[str, bytes], name: str) -> tuple[Model, JointNet]:
    """The network of a folder's files. Raises `Refusal` where something is missing or was changed."""
    for needed in (DESCRIPTION, WEIGHTS):
        if needed not in files:
            raise Refusal(f"The model '{name}' has no {needed}: point to a folder that jobs/teach.py wrote.")
    model = read_description(files[DESCRIPTION], name)
    if _digest(model, files[WEIGHTS]) != model.digest:
        raise Refusal(
            f"The model '{name}' is not what was saved (its digest differs): fetch it again or "
            "train it again."
        )
    network = replace(model.network, pretrained=False).build(model.tasks)
    load_weights(network, files[WEIGHTS], name)
    return model, network


def load_weights(network: JointNet, content: bytes, name: str) -> None:
    """Fill a network from the content of a weights file. Raises `Refusal` where they do not fit."""
    try:
        network.load_state_dict(load_tensors(content))
    except (RuntimeError, SafetensorError) as wrong:
        raise Refusal(f"The weights of '{name}' do not fit their description: train it again.") from wrong


def _digest(model: Model, tensors: bytes) -> str:
    said = cast("dict[str, JSON]", describe(replace(model, scores={}, digest="")))
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode() + hashlib.sha256(tensors).digest()).hexdigest()
