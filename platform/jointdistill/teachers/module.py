"""A user's own network as a teacher (docs/teachers.md shows how)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, final

import torch
from safetensors.torch import save
from torch import Tensor, nn

from jointdistill.recipe import describe
from jointdistill.tasks.base import Task
from jointdistill.teachers.base import Teacher, TeacherCard
from jointdistill.types import Batch, Prediction


@final
class ModuleTeacher(Teacher):
    """Wraps any module that takes images [B, 3, H, W].

    The images are normalised with the card's `mean` and `std`; what the module then returns, `read` turns
    into task → answer (depth [B, 1, h, w] metres, segmentation logits [B, C, h, w]). The card's digest is
    computed here, from the module's weights and the card.
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
        card.check(type(module).__name__, tasks)
        self.module, self._read = module, read
        self.card = replace(card, digest=_digest(module, card))
        self.channels = {}
        self.register_buffer("mean", torch.tensor(card.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(card.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, batch: Batch) -> Prediction:
        """The module's answers."""
        answers = self._read(self.module((batch.image - self.mean) / self.std))
        return Prediction({task: answers[task] for task in self.card.tasks}, {})


def _digest(module: nn.Module, card: TeacherCard) -> str:
    weights = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    said = json.dumps(describe(replace(card, digest="")), sort_keys=True)
    return hashlib.sha256(said.encode() + save(weights)).hexdigest()
