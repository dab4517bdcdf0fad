"""A user's own network as a teacher, the way docs/teachers.md shows it."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from jointdistill.store.objects import open_store
from jointdistill.teachers.base import TeacherCard
from jointdistill.teachers.module import ModuleTeacher
from jointdistill.types import Refusal
from tests.engine.tracked import TASKS
from tests.teachers.scene import batch_of

PAGE = Path(__file__).parents[2] / "docs" / "teachers.md"
DEPTH = {"depth": TASKS["depth"]}


def card(**knobs: Any) -> TeacherCard:
    return TeacherCard(**{"tasks": ("depth",), "units": {"depth": "metre"}, **knobs})


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 1, 1)


def teacher(module: nn.Module, **knobs: Any) -> ModuleTeacher:
    return ModuleTeacher(module, card(**knobs), lambda out: {"depth": out.exp()}, DEPTH).freeze()


def test_the_pages_example_teaches(tmp_path: Path) -> None:
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "@dataclass" in block
    ]
    body = code.partition("@dataclass")[2]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20
    names: dict[str, Any] = {"__name__": "a_users_file"}
    exec(compile(code, PAGE, "exec", dont_inherit=True), names)
    save_file(nn.Conv2d(3, 1, 3, padding=1).state_dict(), tmp_path / "inverse.safetensors")
    recipe = names["Inverse"](str(tmp_path / "inverse.safetensors"))
    store = open_store(str(tmp_path / "run"))
    built = recipe.pin(store, "").build(DEPTH, store)
    batch = batch_of()
    said = built(batch).answers["depth"]
    assert said.shape == (3, 1, 16, 24)
    assert not said.requires_grad
    assert said.min() > 0
    assert built.card.digest == recipe.build(DEPTH, store).card.digest


def test_images_are_normalised_by_the_card() -> None:
    batch = batch_of()
    plain = ModuleTeacher(nn.Identity(), card(mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0)), _red, DEPTH)
    torch.testing.assert_close(plain(batch).answers["depth"], (batch.image[:, :1] - 0.1) / 0.5)


def _red(out: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"depth": out[:, :1]}


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda out: {"depth": out[:, 0]}, r"answers depth with \[3, 16, 24\], not with \[3, 1, h, w\]"),
        (lambda out: {"depth": out.repeat(1, 2, 1, 1)}, r"answers depth with \[3, 2, 16, 24\]"),
        (lambda out: {"inverse": out}, "answers depth with nothing"),
        (lambda out: out, "answers with a Tensor: let its `read` return a dict"),
    ],
    ids=["flat", "two channels", "missing", "bare"],
)
def test_an_answer_of_another_shape_is_refused(read: Any, said: str) -> None:
    with pytest.raises(Refusal, match=said):
        ModuleTeacher(network(), card(), read, DEPTH)(batch_of())


def test_its_digest_follows_weights_and_card() -> None:
    mine = teacher(network()).card.digest
    assert teacher(network()).card.digest == mine
    assert teacher(network(1)).card.digest != mine
    assert teacher(network(), std=(1.0, 1.0, 1.0)).card.digest != mine


def test_its_digest_follows_its_code() -> None:
    """A teacher that answered in millimetres and was mended is another teacher, and is scored anew."""

    def metres(out: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"depth": out}

    def millimetres(out: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"depth": out / 1000}

    class Mine(nn.Conv2d):
        pass

    digests = {
        ModuleTeacher(module, card(), read, DEPTH).card.digest
        for module, read in [(network(), metres), (network(), millimetres), (_same(Mine(3, 1, 1)), metres)]
    }
    assert len(digests) == 3


def test_its_digest_follows_what_its_source_does_not_show() -> None:
    def scaled(scale: float) -> Any:
        return lambda out: {"depth": scale * out}

    def by(out: torch.Tensor, scale: float) -> dict[str, torch.Tensor]:
        return {"depth": scale * out}

    dilated = nn.Conv2d(3, 1, 3, padding=2, dilation=2)
    alike = nn.Conv2d(3, 1, 3, padding=1)
    alike.load_state_dict(dilated.state_dict())
    digests = [
        ModuleTeacher(module, card(), read, DEPTH).card.digest
        for module, read in [
            *((network(), scaled(scale)) for scale in (1.0, 1000.0)),
            *((network(), partial(by, scale=scale)) for scale in (1.0, 1000.0)),
            *((module, scaled(1.0)) for module in (dilated, alike)),
        ]
    ]
    assert len({*digests}) == len(digests)
    assert ModuleTeacher(network(), card(), scaled(1.0), DEPTH).card.digest == digests[0]


def test_its_digest_is_the_same_in_another_process() -> None:
    """What an object shows of itself is often its address; a run that goes on would find another teacher."""

    def by(out: torch.Tensor, held: object) -> dict[str, torch.Tensor]:
        return {"depth": out}

    def holding(held: object) -> Any:
        return lambda out: by(out, held)

    for read in (holding, lambda held: partial(by, held=held), lambda held: partial(by, held=(held, 1))):
        one, other = (ModuleTeacher(network(), card(), read(object()), DEPTH).card.digest for _ in range(2))
        assert one == other


def test_weights_that_two_layers_share_are_no_trouble() -> None:
    tied = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    tied[1].weight = tied[0].weight
    assert ModuleTeacher(tied, card(), _red, DEPTH).card.digest


def _same(module: nn.Module) -> nn.Module:
    module.load_state_dict(network().state_dict())
    return module


def test_it_answers_what_its_card_names_and_nothing_else() -> None:
    chatty = ModuleTeacher(network(), card(), lambda out: {"depth": out, "mood": out}, DEPTH)
    assert set(chatty(batch_of()).answers) == {"depth"}


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"units": {"depth": "millimetre"}}, "gives depth in 'millimetre', not in 'metre'"),
        ({"units": {}}, "gives depth in '', not in 'metre'"),
        ({"tasks": ("depths",)}, "teaches 'depths', which is not among the tasks depth"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        teacher(network(), **knobs)


def test_it_has_no_way_to_replay() -> None:
    built = teacher(network())
    assert built.way == ()
