"""Ray's trainer, without what it starts for data sets of its own."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer


class Trainer(TorchTrainer):  # type: ignore[misc]  # ray is read untyped
    """A `TorchTrainer` that is given no data set.

    Ray starts a process to look after them nevertheless, anew with each group of workers: 1.6 to 2 s of a
    core, just when the workers need it for their own start.
    """

    def _create_default_callbacks(self) -> list[Any]:
        """Ray's, less that one. It is no public method: were it called otherwise, a start would be slower."""
        return [
            callback
            for callback in super()._create_default_callbacks()
            if type(callback).__name__ != "DatasetsCallback"
        ]
