"""Backbones of timm, where the extra `[zoo]` is installed; what is said where it is not: test_joint.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import Model, load, save
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import Refusal

pytest.importorskip("timm", reason="the extra [zoo] is not installed")
TASKS = {"depth": Depth(), "segmentation": Segmentation(classes=("a", "b", "c"))}


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050", "convnext_atto"])
def test_a_backbone_answers_learns_and_comes_back(name: str) -> None:
    recipe = Joint(backbone=name, decoder=16)
    network = recipe.build(TASKS).train()
    statistics = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert not any(module.training for module in statistics)
    before = {key: value.clone() for key, value in network.state_dict().items() if "running" in key}
    images = torch.rand(2, 3, 64, 96)
    said = network(images)
    assert said.answers["segmentation"].shape[:2] == (2, 3)
    sum(answer.mean() for answer in said.answers.values()).backward()  # type: ignore[union-attr]
    unused = [key for key, value in network.named_parameters() if value.grad is None]
    assert not unused  # a replica waits for the gradient of every parameter
    after = network.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    _, again = load(save(Model(recipe, TASKS, 64, 96), after), name)
    network.eval()
    torch.testing.assert_close(again.eval()(images).answers["depth"], network(images).answers["depth"])


def test_a_name_that_timm_does_not_know_is_refused() -> None:
    with pytest.raises(Refusal, match="timm has no backbone 'resnet1000'"):
        Joint(backbone="resnet1000").build(TASKS)
