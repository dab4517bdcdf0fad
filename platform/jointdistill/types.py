"""What travels down the corridor: batches, predictions, losses, weights, steps; with shapes and units.

Symbols in shapes: B images of one rank's batch, K terms, C channels or classes, m points an image.

It only describes: a process that hands such things on needs no torch, which takes over a second to import.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from jointdistill.warp import Warp

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

State: TypeAlias = "tuple[dict[str, Tensor], dict[str, JSON]]"
"""Of every stateful part: tensors (kept as safetensors) and plain values (kept as JSON); never a pickle."""

UNKNOWN_LABEL = 255
"""A pixel without a class."""


class Refusal(Exception):
    """Bad input: one plain sentence that names the thing and the remedy. A job prints it and exits with 2."""


class Diverged(Refusal):
    """Training led nowhere: the same run would do the same again."""


def refuse_odd_name(flag: str, name: str) -> None:
    """Names become folders, addresses (NAME@STEP) and parts of MLflow's queries."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise Refusal(f"{flag} '{name}' is no name: use letters, digits, '.', '_' and '-'.")


class Stopped(BaseException):
    """The run was asked to stop, and did so with a snapshot."""


class Position(NamedTuple):
    """Where a run stands in its data; the whole order of images and views follows from it."""

    seed: int
    epoch: int
    step: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One rank's share of a global batch."""

    keys: tuple[str, ...]
    """[B] the images' names, as reports and errors quote them."""
    index: Tensor
    """[B] int64 row of each image in the training cache."""
    slots: Tensor
    """[B] int64 place of each image in the global batch; random parameters are drawn a slot."""
    image: Tensor
    """[B, 3, H, W] float in 0..1."""
    truth: dict[str, Tensor]
    """Task → truth: depth [B, 1, H, W] metres with NaN unknown; labels [B, H, W] int64 with 255 unknown."""
    present: dict[str, Tensor]
    """Task → [B] bool: the image carries this task's label."""
    count: dict[str, int]
    """Task → labelled images in the *global* batch."""
    total: int
    """Images in the global batch."""
    labelled: int
    """Rows of this share that may carry labels; they come first, so that no loss looks at the others."""
    position: Position
    warp: Warp

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: slice) -> Batch:
        """A micro-batch: the global counts stay, so that the terms of all micro-batches add up."""
        return replace(
            self,
            keys=self.keys[rows],
            index=self.index[rows],
            slots=self.slots[rows],
            image=self.image[rows],
            truth={task: truth[rows] for task, truth in self.truth.items()},
            present={task: present[rows] for task, present in self.present.items()},
            labelled=max(0, min(rows.stop, self.labelled) - rows.start),
            warp=self.warp[rows],
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device; the row indices stay on the host with the records they name."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=True))

    def rows_on(self, device: torch.device) -> Tensor:
        """[B] `index` on a device, which the host does not wait for."""
        return self.index.to(device, non_blocking=True)

    def pinned(self) -> Batch:
        """The same batch in pinned memory, from where a copy to a CUDA device lets the host go on."""
        return self._moved(lambda tensor: tensor.pin_memory())

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            image=move(self.image),
            truth={task: move(truth) for task, truth in self.truth.items()},
            present={task: move(present) for task, present in self.present.items()},
            warp=replace(self.warp, matrix=move(self.warp.matrix)),
        )


class Prediction(NamedTuple):
    """What a network says of a batch. A NamedTuple, because FSDP must find the tensors in it."""

    answers: dict[str, Tensor]
    """Task → answer: depth [B, 1, h, w] metres; segmentation logits [B, C, h, w]. A network answers at the
    size it works at, the image's or smaller; who compares with a truth brings it to the truth's size."""
    features: dict[str, Tensor]
    """Layer → [B, C, h, w]; a source without features leaves it empty."""
    shared: Tensor | None = None
    """[B, C, h, w] the last feature all tasks share: gradients are compared there."""
    sound: Tensor | None = None
    """[B] bool: the answer to an image is finite and may be believed; None: all are."""


class Term(NamedTuple):
    """One row of the losses."""

    source: str
    """`labels`, or a teacher's name."""
    task: str
    loss: str

    @property
    def taught(self) -> bool:
        """Whether a teacher, and not a label, stands behind the term."""
        return self.source != "labels"

    def __str__(self) -> str:
        return f"{self.source}/{self.task}/{self.loss}"


@dataclass(frozen=True, slots=True)
class Losses:
    """Every term for every image, unweighted."""

    terms: tuple[Term, ...]
    value: Tensor
    """[K, B] the loss of an image, 0 where the term is absent."""
    present: Tensor
    """[K, B] bool."""
    count: Tensor
    """[K] images of the *global* batch that carry the term; at least 1."""
    teacher: Tensor | None = None
    """[K, B] the supervised loss of the term's own teacher on the image, NaN where there is no label or no
    sound answer, and in rows of labels; for who asked for it (`Need.TEACHER_LOSS`)."""

    def mean(self, weight: Tensor | None = None) -> Tensor:
        """[K] this rank's share of each term's global mean: summed over ranks it is the mean."""
        value = self.value if weight is None else self.value * weight
        return value.sum(1) / self.count


@dataclass(frozen=True, slots=True)
class Weighted:
    """A weighting's answer for one batch."""

    weight: Tensor
    """[K, B] or [K, 1] the factor on each loss, detached, ≥ 0."""
    auxiliary: Tensor | None = None
    """[] this rank's share of a loss of the weighting's own parameters: summed over ranks it is the loss."""

    def total(self, losses: Losses) -> Tensor:
        """[] this rank's share of the objective."""
        total = losses.mean(self.weight).sum()
        return total if self.auxiliary is None else total + self.auxiliary


def _no_steps() -> Tensor:
    import torch

    return torch.empty(0, 0, dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class Stats:
    """What the engine has reduced over all ranks; the same numbers on each."""

    step: int = 0
    """Optimiser steps done."""
    window: Tensor = field(default_factory=_no_steps)
    """[U, K] float64 on the host: the global mean of each term in each step since the last reduction,
    NaN where no image carried the term."""
    gram: Tensor | None = None
    """[K, K] inner products of the terms' gradients at the shared feature, of the batch being weighed and
    on its device; for who asked for it (`Need.GRAM`)."""
    after: Tensor | None = None
    """[U, K] float64 on the host: the means of `window` once more, each after its step; for who asked for
    it (`Need.SECOND_FORWARD`)."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """How well student and teachers do on the feedback slice, by the tasks' supervised losses."""

    step: int
    student: Mapping[str, float]
    """Task → loss."""
    teachers: Mapping[str, Mapping[str, float]]
    """Teacher → task → loss."""


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that happened in one optimiser step, detached and still on the device."""

    keys: tuple[str, ...]
    """Images of this rank."""
    losses: Tensor
    """[K] this rank's share of each term's global mean."""
    present: Tensor
    """[K] whether any image of this rank carried the term."""
    weight: Tensor
    """[K] the mean factor on each term."""
    trajectory: Tensor
    """[] the trajectory loss, weighted."""
    gradient_norm: Tensor
    """[] before clipping."""
    learning_rate: float
    finite: Tensor
    """[] bool: the gradient was finite; what is not is left out."""
    sound: Tensor
    """[B] bool: every term of the image was finite and every teacher's answer to it usable."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """One interval as plain numbers, the same on every rank."""

    step: int
    epoch: int
    metrics: dict[str, float]
    time_ms: int = field(default_factory=lambda: round(time.time() * 1000))
    """When it was made; nothing is ordered by it."""


@dataclass(frozen=True)
class Card:
    """What a data set says of itself (docs/data-format.md)."""

    name: str
    classes: tuple[str, ...] = ()
    colours: tuple[tuple[int, int, int], ...] = ()
    """One RGB triple a class, 0..255."""
    depth_scale: float = 1.0
    """Stored depth ÷ scale = metres."""
    height: int = 0
    width: int = 0
    splits: Mapping[str, int] = field(default_factory=dict)
    """Split → images."""
    feedback: float = 0.02
    """Share of the training split held out of all training, chosen by a hash of the image's key."""
    shards: Mapping[str, str] = field(default_factory=dict)
    """File → sha256; empty where the writer did not say."""
    fingerprint: str = ""
    """sha256 over what is stored; the data's part of a run's identity."""
    notes: str = ""
