"""Descent: optimiser, schedule, clipping, the average of the student."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from jointdistill.engine.sharding import forget_gathered
from jointdistill.experiment import Optimise


def build_optimiser(
    recipe: Optimise, student: Iterable[nn.Parameter], beside: Iterable[nn.Parameter] = ()
) -> Optimizer:
    """The optimiser of the student and of what is trained beside it; norms and biases do not decay.

    The two stand in groups of their own, since only the student may be sharded, and a fused step takes
    sharded tensors or plain ones.
    """
    groups = []
    for parameters in (student, beside):
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        groups += [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimiser == "sgd":
        return SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    # Fused: one kernel for all of them takes a fifth of the time of a loop over 59 small tensors, on CPU too.
    return AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=True)


def build_schedule(recipe: Optimise, optimiser: Optimizer) -> LambdaLR:
    """The learning rate by step: a linear warm-up, then the schedule."""
    warm = round(recipe.warmup * recipe.steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        done = (step - warm) / max(1, recipe.steps - warm)
        return 1.0 if recipe.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return LambdaLR(optimiser, factor)


def descend(optimiser: Optimizer, clip: float) -> tuple[Tensor, Tensor]:
    """Clip and step: the gradient's norm before clipping, and whether it was finite.

    A step whose gradient is not finite leaves no trace of that gradient.
    """
    owners = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    # torch takes the norm of sharded gradients, or of plain ones, and not of both together.
    kinds = [[p for p in owners if isinstance(p, DTensor) is sharded] for sharded in (True, False)]
    norms = [_whole(get_total_norm([p.grad for p in kind])) for kind in kinds if kind]
    norm = torch.stack(norms).norm()
    finite = norm.isfinite()
    if finite.is_cuda or not finite:  # asking a CUDA tensor would make the host wait: mask instead
        for owner in owners:
            owner.grad.copy_(torch.where(finite, owner.grad, 0.0))
    if clip:
        for kind in kinds:
            clip_grads_with_norm_(kind, clip, norm.nan_to_num(0.0, posinf=0.0))
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm, finite


def _whole(value: Tensor) -> Tensor:
    """A sharded scalar as a plain one."""
    return value.full_tensor() if isinstance(value, DTensor) else value


class Average:
    """An exponential moving average of a network's parameters (Polyak & Juditsky, 1992)."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self._network = decay, network
        self._live = list(network.parameters())
        self._names = [name for name, _ in network.named_parameters()]
        self._mean = [parameter.detach().clone() for parameter in self._live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters as they are after a step, counted from 0.

        The first steps count for more, or the random weights that it began with would stay in it: after 800
        steps at 0.999 they would be 45 % of it. (The schedule is that of TensorFlow's average.)
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, live in zip(self._mean, self._live, strict=True):
            mean.lerp_(live, 1 - decay)

    def tensors(self) -> dict[str, Tensor]:
        """The average by the parameters' names, as it lies on this rank."""
        return dict(zip(self._names, self._mean, strict=True))

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange average and parameters; twice is nothing."""
        forget_gathered(self._network)
        for mean, live in zip(self._mean, self._live, strict=True):
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)
