"""One encoder, one light shared decoder, one head a task. Students and teachers are both this network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jointdistill.nets.backbone import Backbone, ResidualBackbone, TimmBackbone
from jointdistill.nets.blocks import ConvNorm, Merge
from jointdistill.recipe import Recipe
from jointdistill.tasks.base import Task
from jointdistill.types import Prediction, Refusal


@dataclass(frozen=True)
class Joint(Recipe):
    """The size of a network, from about 0.1 M parameters (width 10) upwards."""

    width: int = 12
    """Channels of the first stage; the last has 8 times as many."""
    blocks: int = 1
    """Residual blocks a stage."""
    decoder: int = 32
    """Channels of the shared decoder."""
    backbone: str = "own"
    """`own`, or the name of a timm backbone (needs the extra `[zoo]`); width and blocks then do not count."""
    pretrained: bool = False
    """Start a timm backbone from its published weights."""
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Normalisation of images in 0..1, applied by the network itself."""
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    """Like the mean."""

    def __post_init__(self) -> None:
        for knob in ("width", "blocks", "decoder"):
            if getattr(self, knob) < 1:
                raise Refusal(f"A network needs {knob} ≥ 1, not {getattr(self, knob)}.")
        if self.pretrained and self.backbone == "own":
            raise Refusal("The platform's own backbone has no published weights: drop --student.pretrained.")

    def build(self, tasks: Mapping[str, Task]) -> JointNet:
        """The network, freshly initialised from torch's global generator."""
        backbone: Backbone = (
            ResidualBackbone(self.width, self.blocks)
            if self.backbone == "own"
            else TimmBackbone(self.backbone, self.pretrained)
        )
        return JointNet(backbone, self, tasks)


class JointNet(nn.Module):
    """See `Joint`. Answers come at the size of the decoder, half the image's each way with the own
    backbone: losses and metrics bring them to the truth's size, distillation compares them as they are."""

    def __init__(self, backbone: Backbone, recipe: Joint, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        self.recipe = recipe
        self.tasks = dict(tasks)
        self.backbone = backbone
        self.lateral = nn.ModuleList(nn.Conv2d(c, recipe.decoder, 1) for c in backbone.channels)
        self.scene = nn.Linear(backbone.channels[-1], recipe.decoder)
        self.merges = nn.ModuleList(Merge(recipe.decoder) for _ in backbone.channels[1:])
        self.shared = ConvNorm(recipe.decoder, recipe.decoder)
        self.heads = nn.ModuleDict(
            {name: nn.Conv2d(recipe.decoder, task.channels, 1) for name, task in tasks.items()}
        )
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(recipe.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(recipe.std).view(1, 3, 1, 1), persistent=False)

    @property
    def channels(self) -> dict[str, int]:
        """Feature layer → channels."""
        return {"encoder": self.backbone.channels[-1], "decoder": self.recipe.decoder}

    def forward(self, image: Tensor) -> Prediction:
        """[B, 3, H, W] in 0..1 → answers for every task."""
        levels = self.backbone((image - self.mean) / self.std)
        # A view of the whole scene (street or room, near or far) reaches every pixel from the coarsest map.
        scene = self.scene(levels[-1].mean((2, 3)))[:, :, None, None]
        x = self.lateral[-1](levels[-1]) + F.relu(scene)
        for lateral, merge, level in zip(self.lateral[-2::-1], self.merges, levels[-2::-1], strict=True):
            x = merge(lateral(level), x)
        shared = self.shared(x)  # [B, decoder, H / 2, W / 2]
        answers = {name: task.answer(self.heads[name](shared)) for name, task in self.tasks.items()}
        return Prediction(answers, {"encoder": levels[-1], "decoder": shared}, shared)


def at_size(image: Tensor, height: int, width: int) -> Tensor:
    """Images [B, 3, H, W] in 0..1, stretched to the size that a network is used to."""
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image, (height, width), mode="bilinear", antialias=True)
