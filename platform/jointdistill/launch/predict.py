"""Predicting a folder of pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import tyro
from torch import Tensor

from jointdistill.data.pictures import pictures_in, read_picture
from jointdistill.launch.addresses import absolute, network_at
from jointdistill.launch.answer_files import answer_files, ending, legend
from jointdistill.launch.console import CONSOLE, counted
from jointdistill.nets.joint import JointNet
from jointdistill.nets.saved import Model
from jointdistill.place import Place
from jointdistill.student.predict import predict
from jointdistill.types import JSON, Refusal

AT_ONCE = 8
"""Pictures that are answered together, and held in memory at their full size."""


@dataclass(frozen=True)
class PredictOrder:
    """What a user wants predicted."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    """Folder of PNG, JPEG or WebP images of any size, 8 bits a channel."""
    model: str = "models:/student@champion"
    """models:/NAME@champion, models:/NAME/3, or the folder of a saved model."""
    output: str = ""
    """Folder to be made; empty: FOLDER-predictions."""
    place: Annotated[Place, tyro.conf.arg(name="")] = field(default_factory=Place)


def predict_folder(order: PredictOrder) -> Path:
    """Write the answers to every picture of a folder, and `predictions.json`, which says how to read them.

    Either the whole output folder is there afterwards or nothing. Raises `Refusal` where a picture or the
    model cannot be used, or the output folder holds something.
    """
    folder = Path(absolute(order.folder, "FOLDER"))
    output = Path(absolute(order.output or f"{folder}-predictions", "--output"))
    _refuse_full(output)
    files = pictures_in(folder)
    model, network = network_at(order.model, order.place)
    with counted("checking the pictures", len(files)) as progress:
        for done, file in enumerate(files, 1):
            read_picture(file)
            progress(done)
    with counted("predicting", len(files)) as progress, _whole(output) as made:
        listed: list[JSON] = []
        for file, image, answers in _answered(files, model, network, order.place.device_here):
            listed.append(_write(made, file, image, answers, model))
            progress(len(listed))
        report = json.dumps(_report(order.model, model, listed), indent=2, ensure_ascii=False)
        (made / "predictions.json").write_text(report + "\n")
    CONSOLE.print(f"Predicted {len(files)} pictures: {output}", soft_wrap=True)
    return output


def _answered(
    files: list[Path], model: Model, network: JointNet, device: torch.device
) -> Iterator[tuple[Path, Tensor, dict[str, Tensor]]]:
    """Every picture with its pixels and its answers."""
    for first in range(0, len(files), AT_ONCE):
        together = files[first : first + AT_ONCE]
        images = [torch.from_numpy(read_picture(file)).to(device) for file in together]
        yield from zip(together, images, predict(model, network, images), strict=True)


def _write(folder: Path, file: Path, image: Tensor, answers: dict[str, Tensor], model: Model) -> JSON:
    """Write what is made of a picture; returns its entry in the report."""
    written: dict[str, JSON] = {"image": file.name}
    for end, content in answer_files(image, answers, model.tasks).items():
        name = f"{file.stem}-{end}"
        (folder / name).write_bytes(content)
        written[end.partition(".")[0]] = name
    return written


def _report(address: str, model: Model, listed: list[JSON]) -> dict[str, JSON]:
    tasks: dict[str, JSON] = {
        name: {"files": f"*-{ending(task)}", **legend(task)} for name, task in model.tasks.items()
    }
    return {"model": address, "digest": model.digest, "tasks": tasks, "images": listed}


def _refuse_full(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise Refusal(f"{output} is there already: choose another --output, or remove it.")


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """A folder to write to, which becomes the output once the block is through, and vanishes otherwise."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
            made = Path(scratch) / output.name
            made.mkdir()
            yield made
            made.rename(output)
    except OSError as error:
        raise Refusal(f"{output} cannot be written ({error}): choose another --output.") from error
