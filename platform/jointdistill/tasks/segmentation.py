"""Semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from jointdistill.tasks.base import Heading, RecordColumn, Task
from jointdistill.tasks.colour import palette
from jointdistill.tasks.geometry import at_points, fit, resample
from jointdistill.types import UNKNOWN_LABEL, Card, Refusal
from jointdistill.warp import Warp

_KEPT = 3
"""Classes a point whose probability a record keeps."""

_LEAST = 1e-4
"""The least probability read from a record, for a kept class and for all others together. The stored byte
rounds to 0 below 1/510, and a log needs more than 0."""


@final
@dataclass(frozen=True)
class Segmentation(Task):
    """One class a pixel: answers are logits [B, C, H, W], truths int64 [B, H, W] with 255 unknown."""

    classes: tuple[str, ...] = ()
    """Filled in from the data set's card, like the colours."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """One RGB triple a class."""
    class_weights: tuple[float, ...] = ()
    """A factor a class on the loss; none means 1."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes."""
    temperature: float = 2.0
    """Softens past and present where `recall` compares them."""

    scores: ClassVar[Mapping[str, bool]] = {"miou": True, "pixel_accuracy": True}
    headings: ClassVar[Mapping[str, Heading]] = {
        "miou": Heading("mIoU %", 100, 1),
        "pixel_accuracy": Heading("acc. %", 100, 1),
    }

    def __post_init__(self) -> None:
        if len(self.classes) >= UNKNOWN_LABEL:
            raise Refusal(f"Segmentation can tell at most 254 classes apart, not {len(self.classes)}.")
        for knob in ("colours", "class_weights"):
            given = len(getattr(self, knob))
            if self.classes and given not in (0, len(self.classes)):
                raise Refusal(
                    f"Segmentation has {len(self.classes)} classes but {given} {knob}: give one each."
                )
        if not 0 <= self.label_smoothing < 1:
            raise Refusal(f"Segmentation needs a label_smoothing in 0..1, not {self.label_smoothing}.")
        if self.temperature <= 0:
            raise Refusal(f"Segmentation needs a temperature above 0, not {self.temperature}.")

    @property
    def column(self) -> str:
        """`labels`."""
        return "labels"

    @property
    def channels(self) -> int:
        """One a class."""
        return len(self.classes)

    def described_by(self, card: Card) -> Self:
        """With the card's classes, and its colours or a palette where it has none.

        Raises `Refusal` where the card has fewer than two classes or others than the task already has.
        """
        if len(card.classes) < 2:
            raise Refusal(
                f"Data set '{card.name}' names no classes: add them to its card, or drop segmentation."
            )
        if self.classes not in ((), card.classes):
            raise Refusal(f"Data set '{card.name}' has other classes than the task: leave the task's empty.")
        colours = self.colours or card.colours or palette(len(card.classes))
        return replace(self, classes=card.classes, colours=colours)

    def decode(self, stored: NDArray[Any], card: Card) -> NDArray[np.int64]:
        """int64 [H, W] from integers [H, W]."""
        if stored.ndim != 2 or stored.dtype.kind not in "iu":
            raise ValueError(f"labels are integers [H, W], not {stored.dtype} {list(stored.shape)}")
        labels = stored.astype(np.int64)
        wrong = (labels != UNKNOWN_LABEL) & ((labels < 0) | (labels >= len(card.classes)))
        if wrong.any():
            raise ValueError(
                f"label {labels[wrong][0]} is not among {len(card.classes)} classes: store 255 where unknown"
            )
        return labels

    def unknown(self, height: int, width: int) -> NDArray[np.int64]:
        """[H, W] of 255."""
        return np.full((height, width), UNKNOWN_LABEL, np.int64)

    def warp(self, truth: Tensor, warp: Warp, size: tuple[int, int]) -> Tensor:
        """Labels [B, *size] of the views."""
        # Moved one up, so that the 0 beyond the edge means unknown.
        coded = torch.where(truth == UNKNOWN_LABEL, 0, truth + 1)
        moved = resample(coded[:, None].float(), warp, size, "nearest")[:, 0].long()
        return torch.where(moved == 0, UNKNOWN_LABEL, moved - 1)

    def answer(self, raw: Tensor) -> Tensor:
        """The logits themselves, in full precision."""
        return raw.float()

    def known(self, truth: Tensor) -> Tensor:
        """Where there is a class."""
        return truth != UNKNOWN_LABEL

    def loss(self, answer: Tensor, truth: Tensor) -> Tensor:
        """[B] cross-entropy; with class weights the weighted mean, as torch defines it."""
        weight = _weights(self.class_weights, truth.device) if self.class_weights else None
        # As rows of classes the cross-entropy takes half the time that it takes over a dimension of planes.
        logits = fit(answer, truth.shape).float().permute(0, 2, 3, 1)  # [B, H, W, C]
        each = F.cross_entropy(
            logits.flatten(0, 2),
            truth.flatten(),
            weight=weight,
            ignore_index=UNKNOWN_LABEL,
            reduction="none",
            label_smoothing=self.label_smoothing,
        ).view(truth.shape)  # 0 where unknown
        known = self.known(truth)
        share = known if weight is None else known * weight[torch.where(known, truth, 0)]
        return each.sum((1, 2)) / share.sum((1, 2)).clamp_min(1e-6)

    def tally(self, answer: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """The confusion matrix [C, C], truth × answer."""
        known, classes = self.known(truth), self.channels
        pairs = truth[known] * classes + fit(answer, truth.shape).argmax(1)[known]
        return {"pairs": torch.bincount(pairs, minlength=classes**2).view(classes, classes).double()}

    def score(self, tally: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """mIoU and pixel accuracy from one confusion matrix over all images, as MTAN has scored since 2020.

        A class that neither truth nor answer contains is left out of the mean; `classes_scored` says how
        many stayed.
        """
        pairs = tally["pairs"]
        right = pairs.diag()
        union = pairs.sum(0) + pairs.sum(1) - right
        scored = union > 0
        return {
            "miou": (right[scored] / union[scored]).mean(),
            "pixel_accuracy": right.sum() / pairs.sum(),
            "classes_scored": scored.sum(),
        }

    def draw(self, values: Tensor) -> Tensor:
        """The classes' colours; unknown is black."""
        labels = values if values.ndim == 3 else self.as_truth(values)
        table = torch.zeros(UNKNOWN_LABEL + 1, 3, dtype=torch.uint8, device=values.device)
        colours = self.colours or palette(len(self.classes))
        table[: len(colours)] = torch.tensor(colours, dtype=torch.uint8, device=values.device)
        return table[labels].permute(0, 3, 1, 2)

    @property
    def record(self) -> Mapping[str, RecordColumn]:
        """The likeliest three classes and their probabilities in 255ths: 6 bytes a point."""
        kept = min(_KEPT, len(self.classes))
        return {"top_class": RecordColumn("uint8", kept), "top_probability": RecordColumn("uint8", kept)}

    def compact(self, answer: Tensor, points: Tensor) -> dict[str, Tensor]:
        """The likeliest classes, best first."""
        probability = at_points(answer.float(), points).softmax(-1)  # [B, m, C]
        top = probability.topk(min(_KEPT, answer.shape[1]))
        quantised = (top.values * 255).round()
        return {"top_class": top.indices.to(torch.uint8), "top_probability": quantised.to(torch.uint8)}

    def error(self, compact: Mapping[str, Tensor], truth: Tensor) -> Tensor:
        """−log p of the true class; one that was not kept has its share of what the kept ones left."""
        known = truth != UNKNOWN_LABEL  # [B, m]
        log_p = self._log_probability(compact).gather(-1, torch.where(known, truth, 0)[..., None])
        return torch.where(known, -log_p[..., 0], torch.nan)

    def recall(self, past: Mapping[str, Tensor], answer: Tensor, points: Tensor) -> Tensor:
        """T² · KL(past ‖ now), both softened by the temperature T (Hinton et al., arXiv 1503.02531)."""
        now = F.log_softmax(at_points(answer.float(), points) / self.temperature, -1)  # [B, m, C]
        then = F.log_softmax(self._log_probability(past) / self.temperature, -1)
        return self.temperature**2 * F.kl_div(now, then, log_target=True, reduction="none").sum(-1)

    def as_truth(self, answer: Tensor) -> Tensor:
        """The likeliest class; unknown where the answer is NaN."""
        top = answer.max(1)
        return torch.where(top.values.isnan(), UNKNOWN_LABEL, top.indices)

    def _log_probability(self, compact: Mapping[str, Tensor]) -> Tensor:
        """[B, m, C] a record's log probabilities; what the kept classes leave is spread over the others."""
        kept = compact["top_probability"].float() / 255  # [B, m, kept]
        left = (1 - kept.sum(-1, keepdim=True)).clamp_min(_LEAST)
        others = max(1, len(self.classes) - kept.shape[-1])
        spread = (left / others).log().expand(*kept.shape[:-1], len(self.classes))
        log_p = spread.scatter(-1, compact["top_class"].long(), kept.clamp_min(_LEAST).log())
        return log_p.log_softmax(-1)  # rounding and floors keep the sum only near 1


@lru_cache(maxsize=16)
def _weights(of_classes: tuple[float, ...], device: torch.device) -> Tensor:
    """[C] on the device; a copy there at each step would make the host wait."""
    return torch.tensor(of_classes, device=device)
