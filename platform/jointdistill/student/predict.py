"""A saved network's answers to pictures of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jointdistill.nets.joint import JointNet, at_size
from jointdistill.nets.saved import Model
from jointdistill.tasks.geometry import fit


@torch.inference_mode()
def predict(model: Model, network: JointNet, images: Sequence[Tensor]) -> list[dict[str, Tensor]]:
    """For each image uint8 [3, H, W], of a size of its own: task → its answer in the form of a truth and at
    the image's size, such as depth [1, H, W] in metres and labels [H, W].

    The network sees them at the resolution it was trained at, stretched where the shape differs.
    """
    seen = torch.cat([at_size(image[None].float() / 255, model.height, model.width) for image in images])
    said = network(seen).answers
    # One by one to full size: the logits of a large photograph take a gigabyte.
    return [
        {
            name: task.as_truth(fit(said[name][place, None], image.shape))[0]
            for name, task in model.tasks.items()
        }
        for place, image in enumerate(images)
    ]
