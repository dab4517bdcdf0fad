"""A strip an image: the image, then for each task the truth, every teacher and the student."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from PIL import Image
from torch import Tensor

from jointdistill.tasks.base import Task
from jointdistill.tasks.geometry import fit
from jointdistill.types import Batch, Prediction

GAP = 2
"""White pixels between two pictures."""


def strips(
    batch: Batch, predicted: Prediction, taught: Mapping[str, Prediction], tasks: Mapping[str, Task]
) -> Tensor:
    """uint8 [3, height, width]: one row an image; columns as the module says, teachers in order."""
    size = batch.image.shape
    columns = [(batch.image * 255).byte()]
    for name, task in tasks.items():
        columns.append(task.draw(batch.truth[name]))
        answers = [said.answers[name] for said in (*taught.values(), predicted) if name in said.answers]
        columns += [task.draw(fit(answer, size)) for answer in answers]
    padded = [torch.nn.functional.pad(column.cpu(), (0, GAP, 0, GAP), value=255) for column in columns]
    rows = torch.cat(padded, 3)  # [B, 3, H, all widths]
    return torch.cat(list(rows), 1)


def png(picture: Tensor) -> bytes:
    """A uint8 [3, H, W] picture as PNG."""
    content = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(content, "PNG")
    return content.getvalue()
