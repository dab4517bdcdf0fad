"""A network's answers as files that any program reads: 16-bit depth, labels with a palette, an overlay."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from jointdistill.data.cells import encode_npy
from jointdistill.data.drawn import SCALE, to_png16
from jointdistill.engine.pictures import GAP, png
from jointdistill.tasks.base import Task
from jointdistill.tasks.colour import palette
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import JSON, UNKNOWN_LABEL

DEPTH_NOTE = f"Depth: value / {SCALE} = metres, 0 = unknown"


def answer_files(image: Tensor, answers: Mapping[str, Tensor], tasks: Mapping[str, Task]) -> dict[str, bytes]:
    """Ending of the file's name → content, for an image uint8 [3, H, W] and its answers in truths' form.

    Depth becomes a PNG of 16 bits and labels one of 8 with the classes' colours; the answer to any other
    task an NPY. `overlay.png` shows them: labels half-transparent over the image, the others beside it.
    """
    files = {ending(task): _encoded(answers[name], task) for name, task in tasks.items()}
    return files | {"overlay.png": png(overlay(image, answers, tasks))}


def ending(task: Task) -> str:
    """How the name of the file with a task's answer ends."""
    return f"{task.column}.png" if isinstance(task, Depth | Segmentation) else f"{task.column}.npy"


def legend(task: Task) -> dict[str, JSON]:
    """How to read the file with a task's answer."""
    match task:
        case Depth():
            return {"unit": task.unit, "steps_a_unit": SCALE, "unknown": 0}
        case Segmentation():
            return {"classes": list(task.classes), "unknown": UNKNOWN_LABEL}
        case _:
            return {"unit": task.unit}


def overlay(image: Tensor, answers: Mapping[str, Tensor], tasks: Mapping[str, Task]) -> Tensor:
    """uint8 [3, H, all widths]: the image under its labels, then the other answers in colour."""
    seen, beside = image.cpu().float(), []
    for name, task in tasks.items():
        drawn = task.draw(answers[name][None].cpu())[0]
        if isinstance(task, Segmentation):
            seen = (seen + drawn) / 2
        else:
            beside.append(drawn)
    panels = [seen.byte(), *beside]
    spaced = [torch.nn.functional.pad(panel, (0, GAP), value=255) for panel in panels[:-1]]
    return torch.cat([*spaced, panels[-1]], 2)


def _encoded(answer: Tensor, task: Task) -> bytes:
    values = answer.cpu().numpy()
    match task:
        case Depth():
            note = PngInfo()
            note.add_text("Description", DEPTH_NOTE)
            return _png(Image.fromarray(to_png16(values[0])), note)
        case Segmentation():
            picture = Image.fromarray(values.astype(np.uint8))
            colours = task.colours or palette(len(task.classes))
            picture.putpalette([level for colour in colours for level in colour])
            return _png(picture)
        case _:
            return encode_npy(values)


def _png(picture: Image.Image, note: PngInfo | None = None) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG", pnginfo=note)
    return content.getvalue()
