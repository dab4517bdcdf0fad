"""What MLflow serves: images in, dense answers out. MLflow runs this file when it loads the model.

The weights are read as safetensors and checked against their digest; the network is built by the copy of
this package that lies beside them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from jointdistill.nets.saved import DESCRIPTION, WEIGHTS, load
from jointdistill.student.predict import predict


class Served(PythonModel):  # type: ignore[misc]  # mlflow is read untyped
    """A saved network behind MLflow's interface."""

    def load_context(self, context: Any) -> None:
        """Build the network from the files that lie with the model."""
        folder = Path(context.artifacts["model"])
        files = {name: (folder / name).read_bytes() for name in (DESCRIPTION, WEIGHTS)}
        self.model, network = load(files, folder.name)
        self.network = network.eval()

    def predict(self, context: Any, model_input: np.ndarray) -> dict[str, np.ndarray]:
        """uint8 images [B, H, W, 3] → column of each task → answers at the images' size, such as depth
        float32 [B, H, W] in metres and labels int64 [B, H, W].

        See `student.predict`.
        """
        images = torch.from_numpy(np.ascontiguousarray(model_input)).movedim(-1, 1)
        said = predict(self.model, self.network, list(images))
        return {
            task.column: _without_single_channel(torch.stack([answer[name] for answer in said])).numpy()
            for name, task in self.model.tasks.items()
        }


def _without_single_channel(truth: torch.Tensor) -> torch.Tensor:
    return truth[:, 0] if truth.ndim == 4 and truth.shape[1] == 1 else truth


set_model(Served())
