"""A trained network as an MLflow model that any process can load and serve, without a pickle in it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.types import Schema, TensorSpec

import jointdistill
from jointdistill.nets.saved import Model
from jointdistill.store.registry import FOLDER

PACKAGE = Path(jointdistill.__file__).parent
REQUIRED = ("mlflow", "torch", "safetensors", "numpy")
"""What the served copy of the package imports."""
EXAMPLE = (32, 32)
"""Height and width of the image that is kept as an example of a request."""


def export(model: Model, files: Mapping[str, bytes], folder: Path) -> None:
    """Write the MLflow model into a folder that must not exist yet.

    `files` are those of `nets.saved.save`, and of the network's way where it was kept.
    """
    with TemporaryDirectory() as scratch:
        here = Path(scratch) / FOLDER
        for name, content in files.items():
            file = here / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        save_model(
            folder,
            python_model=str(PACKAGE / "student" / "served.py"),
            code_paths=[str(PACKAGE)],
            artifacts={"model": str(here)},
            signature=signature(model),
            # MLflow asks the model about it before it is saved: one that cannot answer is never published.
            input_example=np.zeros((1, *EXAMPLE, 3), np.uint8),
            pip_requirements=requirements(),
        )


def signature(model: Model) -> ModelSignature:
    """uint8 images [-1, -1, -1, 3]; one tensor a task out, named by its column."""
    image = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))
    answers = []
    for task in model.tasks.values():
        truth = task.unknown(model.height, model.width)  # [H, W] or [C, H, W]
        single = truth.ndim == 2 or truth.shape[0] == 1
        shape = (-1, -1, -1) if single else (-1, truth.shape[0], -1, -1)
        answers.append(TensorSpec(truth.dtype, shape, task.column))
    return ModelSignature(Schema([image]), Schema(answers))


def requirements() -> list[str]:
    """The versions at hand; a build's own suffix (`+cpu`) is left out, since no index has it."""
    return [f"{name}=={version(name).partition('+')[0]}" for name in REQUIRED]
