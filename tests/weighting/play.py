"""A run without a network: what an engine tells a weighting, in the order it tells it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from jointdistill.types import Feedback, Losses, State, Stats, Term, Weighted
from jointdistill.weighting.base import Weighting

IMAGES = 4
WINDOW = 10
EVALUATION = 50

DEPTH = (
    Term("labels", "depth", "silog"),
    Term("near", "depth", "log_l1"),
    Term("near", "depth", "attention"),
)
SEGMENTATION = (Term("labels", "segmentation", "cross_entropy"), Term("city", "segmentation", "tempered_kl"))
TERMS = (*DEPTH, *SEGMENTATION, Term("far", "depth", "log_l1"), Term("far", "depth", "attention"))

FEEDBACK = Feedback(
    step=0,
    student={"depth": 0.5, "segmentation": 1.2},
    teachers={"near": {"depth": 0.2}, "far": {"depth": 0.3}, "city": {"segmentation": 0.4}},
)


def falling(terms: tuple[Term, ...], noise: float = 0.15) -> Callable[[int], Tensor]:
    """Step → means [K]: each term falls at a pace and from a height of its own, with noise."""
    height = torch.tensor([1.0 + len(str(term)) for term in terms], dtype=torch.float64)
    pace = torch.tensor([0.001 * (1 + sum(map(ord, str(term))) % 7) for term in terms], dtype=torch.float64)
    seeds = [sum(map(ord, str(term))) for term in terms]

    def means(step: int) -> Tensor:
        shake = [torch.randn((), generator=torch.Generator().manual_seed(1000 * step + s)) for s in seeds]
        return height * torch.exp(-pace * step + noise * torch.stack(shake).double())

    return means


def losses_of(terms: tuple[Term, ...], means: Tensor, device: str = "cpu") -> Losses:
    """Losses [K, B] with these means [K]; a term whose mean is NaN is absent.

    Rows of teachers say how wrong the teacher is itself: more wrong the further down the row.
    """
    spread = torch.linspace(0.5, 1.5, IMAGES)
    value = means.float().unsqueeze(1) * spread  # [K, B]
    wrong = torch.linspace(0.1, 2.0, len(terms)).unsqueeze(1) * spread
    taught = torch.tensor([term.taught for term in terms])
    losses = Losses(
        terms=terms,
        value=value.nan_to_num(0.0),
        present=value.isfinite(),
        count=value.isfinite().sum(1).clamp(min=1),
        teacher=wrong.where(taught.unsqueeze(1), torch.nan),
    )
    return losses if device == "cpu" else moved(losses, device)


def moved(losses: Losses, device: str) -> Losses:
    """The same losses on a device."""
    teacher = None if losses.teacher is None else losses.teacher.to(device)
    return Losses(
        losses.terms, losses.value.to(device), losses.present.to(device), losses.count.to(device), teacher
    )


def gram_of(terms: tuple[Term, ...]) -> Tensor:
    """[K, K] inner products of made-up gradients, one a term whatever its row; some disagree."""
    seeds = [sum(map(ord, str(term))) for term in terms]
    rows = [torch.randn(8, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    gradients = torch.stack(rows)
    return gradients @ gradients.T


def weighed(method: Weighting, terms: tuple[Term, ...], means: Tensor, step: int = 0) -> Weighted:
    """What the method says of one batch."""
    return method.weigh(losses_of(terms, means), Stats(step, gram=gram_of(terms)))


def play(
    method: Weighting,
    means: Callable[[int], Tensor],
    steps: range = range(200),
    feedback: Callable[[int], Feedback | None] = lambda _: FEEDBACK,
) -> None:
    """Run the method over some steps: feedback now and then, statistics window by window."""
    rows: list[Tensor] = []
    for step in steps:
        if step % EVALUATION == 0 and (heard := feedback(step)) is not None:
            method.observe(heard)
        rows.append(means(step))
        if len(rows) == WINDOW:
            method.after_step(Stats(step + 1, torch.stack(rows), after=torch.stack(rows) * 0.99))
            rows = []


def stored(state: State) -> State:
    """A state as it comes back from a snapshot."""
    tensors, values = state
    return load_tensors(save_tensors(tensors)), json.loads(json.dumps(values, allow_nan=False))


def shuffled(terms: tuple[Term, ...]) -> tuple[tuple[Term, ...], list[int]]:
    """The terms in another order, and where each one was."""
    order = torch.randperm(len(terms), generator=torch.Generator().manual_seed(3)).tolist()
    return tuple(terms[place] for place in order), order


def by(kind: str, log: Mapping[str, float]) -> dict[str, float]:
    """The logged values of one kind, by what follows it."""
    return {
        name.removeprefix(f"{kind}/"): value for name, value in log.items() if name.startswith(f"{kind}/")
    }
