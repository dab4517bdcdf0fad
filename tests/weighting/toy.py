"""Toy students for the controller: losses that fall by themselves, or the faster the more they weigh."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from jointdistill.types import Feedback, Stats, Term
from jointdistill.weighting.competence import Competence, CompetenceWeights
from tests.weighting.play import FEEDBACK, TERMS, by, falling, play

DEPTH = Term("near", "depth", "log_l1")
SEGMENTATION = Term("city", "segmentation", "tempered_kl")
TWO = (Term("labels", "depth", "silog"), DEPTH, SEGMENTATION)
THREE = tuple(Term(name, "segmentation", "tempered_kl") for name in ("one", "two", "wrong"))


def feedback(depth: float, segmentation: float, teacher: float = 0.2) -> Feedback:
    """The student's two losses, and the loss both teachers have."""
    return Feedback(
        0,
        {"depth": depth, "segmentation": segmentation},
        {"near": {"depth": teacher}, "city": {"segmentation": teacher}},
    )


def played(
    knobs: Competence,
    terms: tuple[Term, ...] = TERMS,
    means: Callable[[int], Tensor] | None = None,
    hear: Feedback | None = FEEDBACK,
    steps: int = 200,
) -> CompetenceWeights:
    method = knobs.build(terms)
    play(method, means or falling(terms), range(steps), lambda _: hear)
    return method


def learnt(knobs: Competence, steps: int = 600) -> dict[str, float]:
    """A toy student: a loss falls by its task's ease and the weight its teacher has, with 15 % noise."""
    method, ease = knobs.build((DEPTH, SEGMENTATION)), {"depth": 0.006, "segmentation": 0.002}
    size, rows = {"depth": 1.0, "segmentation": 1.0}, []
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        if step % 50 == 0:
            method.observe(feedback(0.2 + size["depth"], 0.2 + size["segmentation"]))
        weight = by("weight", method.log())
        size["depth"] *= 1 - ease["depth"] * weight["near/depth"]
        size["segmentation"] *= 1 - ease["segmentation"] * weight["city/segmentation"]
        noise = torch.exp(0.15 * torch.randn(2, generator=generator, dtype=torch.float64))
        rows.append(torch.tensor(list(size.values()), dtype=torch.float64) * noise)
        if len(rows) == 10:
            method.after_step(Stats(step + 1, torch.stack(rows)))
            rows = []
    return by("weight", method.log())
