"""The oracle is right where the truth is known, and wrong by as much as it was told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jointdistill.store.objects import open_store
from jointdistill.teachers.base import Teacher
from jointdistill.teachers.oracle import Oracle
from jointdistill.types import Refusal
from tests.engine.tracked import TASKS
from tests.teachers.scene import batch_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def oracle(folder: Path, noise: float = 0.0) -> Teacher:
    return Oracle(noise).build(TASKS, open_store(str(folder)))


def test_its_scores_are_perfect(folder: Path) -> None:
    batch = batch_of()
    said = oracle(folder)(batch)
    for name, perfect in {"depth": {"abs_rel": 0.0, "delta1": 1.0}, "segmentation": {"miou": 1.0}}.items():
        scores = TASKS[name].score(TASKS[name].tally(said.answers[name], batch.truth[name]))
        assert {score: float(scores[score]) for score in perfect} == pytest.approx(perfect)


def test_unknown_pixels_get_an_answer_that_says_nothing(folder: Path) -> None:
    said = oracle(folder)(batch_of())
    assert (said.answers["depth"][:, :, 0] == 1).all()
    assert (said.answers["segmentation"][:, :, 0] == 0).all()


def test_its_noise_belongs_to_the_image(folder: Path) -> None:
    batch = batch_of()
    said = oracle(folder, noise=0.2)(batch)
    ratio = (said.answers["depth"] / batch.truth["depth"])[:, :, 1:].log()
    assert ratio.std() == pytest.approx(0.2, rel=0.1)
    turned = replace(batch, keys=batch.keys[::-1])
    assert not torch.equal(oracle(folder, noise=0.2)(turned).answers["depth"], said.answers["depth"])
    assert torch.equal(oracle(folder, noise=0.2)(batch).answers["depth"], said.answers["depth"])


def test_two_oracles_are_two_teachers(folder: Path) -> None:
    assert oracle(folder).card.digest != oracle(folder, noise=0.1).card.digest


def test_a_negative_noise_is_refused() -> None:
    with pytest.raises(Refusal, match="at least 0"):
        Oracle(-1.0)
