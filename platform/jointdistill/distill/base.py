"""The contract of a distillation loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from jointdistill.recipe import Recipe, word
from jointdistill.types import Batch, Prediction


class Distil(nn.Module, ABC):
    """One loss between the student and one source. It may own parameters (a connector)."""

    @abstractmethod
    def forward(self, student: Prediction, source: Prediction, batch: Batch) -> Tensor:
        """[B] a loss an image, ≥ 0 and 0 where the student equals the source; no mean over images.

        The source carries no gradient. Its NaN are the engine's to mask, not the loss's.
        """


@dataclass(frozen=True)
class DistilRecipe(Recipe, ABC):
    """A distillation loss for one task; every teacher of the task gets it."""

    task: str
    """The task whose teachers are compared with."""

    @property
    def loss(self) -> str:
        """The name in metric keys, as papers print it in snake case: the file's, and the layers'."""
        return ".".join([word(type(self)).replace("-", "_"), *self.layers])

    @property
    def layers(self) -> tuple[str, ...]:
        """The feature layers that student and source must both have."""
        return ()

    @abstractmethod
    def build(self, student: Mapping[str, int], source: Mapping[str, int]) -> Distil:
        """The loss, given feature layer → channels of both sides.

        Raises `Refusal` where a layer is missing.
        """
