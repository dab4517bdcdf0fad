from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from jointdistill.distill.tempered_kl import TemperedKL
from jointdistill.types import Refusal
from tests.distill.pair import batch, prediction

TASK = "segmentation"


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_it_is_the_printed_formula(temperature: float) -> None:
    student, source = prediction(TASK, 0, scale=4.0), prediction(TASK, 1, scale=4.0)
    p = (source.answers[TASK] / temperature).softmax(1)
    q = (student.answers[TASK] / temperature).softmax(1)
    wanted = temperature**2 * (p * (p / q).log()).sum(1).mean((1, 2))
    distil = TemperedKL(temperature=temperature).build({}, {})
    torch.testing.assert_close(distil(student, source, batch()), wanted)


def test_at_temperature_1_its_gradient_is_that_of_a_soft_label() -> None:
    student, source = prediction(TASK, 0), prediction(TASK, 1)
    logits = student.answers[TASK]
    loss = TemperedKL(temperature=1.0).build({}, {})(student, source, batch()).mean()
    soft = F.cross_entropy(logits, source.answers[TASK].detach().softmax(1))
    torch.testing.assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(soft, logits))


def test_no_temperature_is_refused() -> None:
    with pytest.raises(Refusal, match="above 0"):
        TemperedKL(temperature=0.0)
