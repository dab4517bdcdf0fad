import sys

import pytest
import torch

from jointdistill.nets.joint import Joint
from jointdistill.nets.saved import DESCRIPTION, WEIGHTS, Model, load, save
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import Refusal

TASKS = {"depth": Depth(), "segmentation": Segmentation(classes=("a", "b", "c"))}


def saved() -> dict[str, bytes]:
    torch.manual_seed(0)
    recipe = Joint(width=8, decoder=16)
    model = Model(recipe, TASKS, height=32, width=64, data="f00d", scores={"depth/abs_rel": 0.2})
    return save(model, recipe.build(TASKS).state_dict())


@pytest.mark.parametrize("width", [4, 10, 16])
def test_answers_features_and_sizes(width):
    network = Joint(width=width, decoder=24).build(TASKS)
    said = network(torch.rand(2, 3, 32, 64))
    assert said.answers["depth"].shape == (2, 1, 16, 32)
    assert said.answers["segmentation"].shape == (2, 3, 16, 32)
    assert {layer: value.shape[1] for layer, value in said.features.items()} == network.channels
    assert said.shared is not None and said.shared.requires_grad


def test_the_demo_student_has_about_a_tenth_of_a_million_parameters():
    parameters = sum(p.numel() for p in Joint(width=10, decoder=24).build(TASKS).parameters())
    assert 0.08e6 < parameters < 0.15e6


def test_an_image_is_answered_alike_alone_and_in_a_batch():
    network = Joint(width=8, decoder=16).build(TASKS).train()
    images = torch.rand(4, 3, 32, 64)
    together = network(images).answers["segmentation"]
    alone = torch.cat([network(image[None]).answers["segmentation"] for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_odd_sizes_are_answered():
    said = Joint(width=8, decoder=16).build(TASKS)(torch.rand(1, 3, 45, 71))
    assert said.answers["depth"].shape == (1, 1, 23, 36)


def test_a_saved_network_comes_back_the_same():
    files = saved()
    model, network = load(files, "mine")
    assert model.network == Joint(width=8, decoder=16)
    assert model.tasks == TASKS
    assert model.scores == {"depth/abs_rel": 0.2}
    again = save(model, network.state_dict())
    assert again == files


@pytest.mark.parametrize("file", [DESCRIPTION, WEIGHTS])
def test_a_saved_network_that_was_changed_is_refused(file):
    files = saved()
    content = bytearray(files[file])
    place = content.rindex(b"32") if file == DESCRIPTION else len(content) - 9
    content[place] ^= 1
    with pytest.raises(Refusal, match="mine"):
        load(files | {file: bytes(content)}, "mine")


def test_a_description_cannot_name_anything_but_recipes_of_the_house():
    files = saved()
    foreign = files[DESCRIPTION].replace(b'"Depth"', b'"os.system"')
    with pytest.raises(Refusal, match="cannot be read"):
        load(files | {DESCRIPTION: foreign}, "mine")


def test_a_pickle_is_not_a_network():
    import pickle

    files = saved()
    with pytest.raises(Refusal):
        load(files | {WEIGHTS: pickle.dumps({"a": 1})}, "mine")


def test_a_timm_backbone_without_timm_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Refusal, match=r"jointdistill\[zoo\]"):
        Joint(backbone="resnet18").build(TASKS)
