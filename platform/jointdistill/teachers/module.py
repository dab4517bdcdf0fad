"""A user's own network as a teacher (docs/teachers.md shows how)."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, final

import torch
from safetensors.torch import save
from torch import Tensor, nn

from jointdistill.recipe import describe
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher, TeacherCard
from jointdistill.types import Batch, Prediction, Refusal


@final
class ModuleTeacher(Teacher):
    """Wraps any module that takes images [B, 3, H, W].

    The images are normalised with the card's `mean` and `std`; what the module then returns, `read` turns
    into task → answer (depth [B, 1, h, w] metres, segmentation logits [B, C, h, w]). The card's digest is
    computed here, from the module's weights, the card, and the code of `read` and of the module's classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        card: TeacherCard,
        read: Callable[[Any], Mapping[str, Tensor]],
        tasks: Mapping[str, Task],
    ) -> None:
        """`tasks` are those of the run. Raises `Refusal` where the card does not fit them."""
        super().__init__()
        self._name = type(module).__name__
        card.check(self._name, tasks)
        self.module, self._read = module, read
        self._channels = {task: tasks[task].channels for task in card.tasks}
        self.card = replace(card, digest=_digest(module, card, read))
        self.channels = {}
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> Prediction:
        """The module's answers. Raises `Refusal` where one is missing or of another shape than the task's."""
        answers = self._read(self.module((batch.image - self.mean) / self.std))
        if not isinstance(answers, Mapping):
            raise Refusal(
                f"The teacher '{self._name}' answers with a {type(answers).__name__}: let its `read` return "
                "a dict, task → tensor."
            )
        for task, channels in self._channels.items():
            shape = tuple(answers[task].shape) if task in answers else ()
            if len(shape) != 4 or shape[:2] != (len(batch), channels):
                raise Refusal(
                    f"The teacher '{self._name}' answers {task} with {list(shape) or 'nothing'}, not with "
                    f"[{len(batch)}, {channels}, h, w]: correct what its `read` returns."
                )
        return Prediction({task: answers[task] for task in self.card.tasks}, {})


def _digest(module: nn.Module, card: TeacherCard, read: Callable[[Any], Mapping[str, Tensor]]) -> str:
    # Copies: weights may be shared between layers, which safetensors refuses.
    weights = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }
    own = {type(part) for part in module.modules() if not type(part).__module__.startswith("torch.")}
    code = [_code(read), *_seen_by(read), *sorted(_code(kind) for kind in own), repr(module)]
    said = json.dumps([describe(replace(card, digest="")), code], sort_keys=True)
    return hashlib.sha256(said.encode() + save(weights)).hexdigest()


def _seen_by(read: Any) -> list[str]:
    """Plain values that a function uses and its source does not show."""
    if isinstance(read, partial):
        given = {**{str(place): value for place, value in enumerate(read.args)}, **read.keywords}
        return [_code(read.func), *_texts(given), *_seen_by(read.func)]
    if not inspect.isfunction(read):
        return []
    used = inspect.getclosurevars(read)
    return _texts({**used.globals, **used.nonlocals})


def _texts(values: Mapping[str, Any]) -> list[str]:
    """The plain ones among named values. Others show an address, which is another in each process."""
    return [f"{name}={value!r}" for name, value in sorted(values.items()) if _is_plain(value)]


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def _code(part: Any) -> str:
    """What a function or class is written as; only its name where there is no file to read it in."""
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):
        return str(getattr(part, "__qualname__", type(part).__qualname__))
