"""One optimiser step."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from jointdistill.engine.gram import gram
from jointdistill.engine.objective import ask
from jointdistill.engine.optimise import descend
from jointdistill.engine.parts import Parts
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.sharding import accumulating
from jointdistill.types import Batch, Step
from jointdistill.weighting.base import Need


class Piece(NamedTuple):
    """What one micro-batch left behind, detached."""

    losses: Tensor
    present: Tensor
    weight: Tensor
    trajectory: Tensor
    sound: Tensor


def train_step(batch: Batch, parts: Parts) -> Step:
    """One optimiser step on this rank's share of a global batch.

    Terms divide by global counts, so the pieces of a micro-batched share, like the shares of the ranks,
    simply add up.
    """
    pieces = micro_batches(batch, parts.micro_batch, parts.ranks)
    done = []
    for place, piece in enumerate(pieces):
        with accumulating(parts.student, last=place == len(pieces) - 1):
            done.append(forward_backward(piece, parts))
    average_gradients(parts)
    learning_rate = float(parts.schedule.get_last_lr()[0])
    norm, finite = descend(parts.optimiser, parts.experiment.optimise.clip)
    parts.schedule.step()
    if parts.average:
        parts.average.update(parts.step)
    parts.step += 1
    return Step(
        keys=batch.keys,
        losses=torch.stack([piece.losses for piece in done]).sum(0),
        present=torch.stack([piece.present for piece in done]).any(0),
        weight=torch.stack([piece.weight for piece in done]).sum(0) / len(batch),
        trajectory=torch.stack([piece.trajectory for piece in done]).sum(0),
        gradient_norm=norm,
        learning_rate=learning_rate,
        finite=finite,
        sound=torch.cat([piece.sound for piece in done]),
    )


def forward_backward(batch: Batch, parts: Parts) -> Piece:
    """Forward and backward of a micro-batch, in the order of the method section."""
    batch = parts.augment(batch, parts.tasks)  # image [B, 3, H, W] in 0..1
    with parts.autocast():
        with parts.asking.running():
            taught = ask(parts.teachers, batch)  # {name: Prediction}, no gradient
        predicted = parts.student(batch.image)
    losses = parts.objective(predicted, taught, batch)  # [K, B]: one row a Term
    if Need.TEACHER_LOSS in parts.weighting.needs:
        losses = replace(losses, teacher=parts.objective.of_teachers(taught, batch))
    if Need.GRAM in parts.weighting.needs:
        parts.stats = replace(parts.stats, gram=gram(losses, predicted, parts.ranks))
    weighted = parts.weighting.weigh(losses, parts.stats)  # weights [K, B], detached
    remembered = losses.value.new_zeros(())
    for source in parts.trajectory:
        remembered = remembered + source.loss(predicted, taught, batch)
        source.write(predicted, taught, batch)
    # Gradients are averaged over the ranks, but the shares of a global mean must add up.
    ((weighted.total(losses) + remembered) * parts.ranks.world).backward()
    trusted = [losses.value.isfinite().all(0), *(s.sound for s in taught.values() if s.sound is not None)]
    return Piece(
        losses=losses.mean().detach(),
        present=losses.present.any(1),
        weight=weighted.weight.detach().double().expand(-1, len(batch)).sum(1),
        trajectory=remembered.detach(),
        sound=torch.stack(trusted).all(0),
    )


def micro_batches(batch: Batch, size: int, ranks: Ranks) -> list[Batch]:
    """The share in even pieces of at most `size` images; 0 leaves it whole.

    Every rank cuts its share into equally many, since a sharded student computes only together.
    """
    largest_share = -(-batch.total // ranks.world)
    pieces = -(-largest_share // size) if size else 1
    bounds = [len(batch) * piece // pieces for piece in range(pieces + 1)]
    return [batch[first:last] for first, last in pairwise(bounds)]


def average_gradients(parts: Parts) -> None:
    """Average over the ranks what is trained beside the student; the student's own are averaged already."""
    if parts.ranks.world == 1:
        return
    for parameter in parts.beside:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= parts.ranks.world
