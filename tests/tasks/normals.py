"""Surface normals: a third task in one file, as a user would add one. The tests train with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from jointdistill.tasks.base import RecordColumn, Task
from jointdistill.tasks.geometry import at_points, fit, resample
from jointdistill.types import Card
from jointdistill.warp import Warp


@final
@dataclass(frozen=True)
class Normals(Task):
    """Unit vectors [B, 3, H, W], x to the right and y down as in the image; NaN where unknown."""

    scores: ClassVar[Mapping[str, bool]] = {"mean_angle": False}

    @property
    def column(self) -> str:
        return "normals"

    @property
    def channels(self) -> int:
        return 3

    def decode(self, stored: NDArray[Any], card: Card) -> NDArray[np.float32]:
        """[3, H, W] from float [H, W, 3], where a vector of length 0 or NaN is unknown."""
        if stored.ndim != 3 or stored.shape[-1] != 3 or stored.dtype.kind != "f":
            raise ValueError(f"normals are floats [H, W, 3], not {stored.dtype} {list(stored.shape)}")
        length = np.linalg.norm(stored, axis=-1, keepdims=True)
        if np.isinf(length).any():
            raise ValueError("a normal is infinite: store NaN where unknown")
        unit = stored / np.where(length == 0, np.nan, length)
        return unit.astype(np.float32).transpose(2, 0, 1)

    def unknown(self, height: int, width: int) -> NDArray[np.float32]:
        return np.full((3, height, width), np.nan, np.float32)

    def warp(self, truth: Tensor, warp: Warp, size: tuple[int, int]) -> Tensor:
        """In a mirror a normal points to the other side; views are never turned."""
        moved = resample(truth.nan_to_num(0.0), warp, size, "nearest")
        moved = torch.where((moved == 0).all(1, keepdim=True), torch.nan, moved)
        side = torch.ones(len(truth), 3, device=truth.device)
        side[:, 0] = warp.matrix[:, 0, 0].sign()
        return moved * side[:, :, None, None]

    def answer(self, raw: Tensor) -> Tensor:
        return F.normalize(raw.float(), dim=1, eps=1e-6)

    def known(self, truth: Tensor) -> Tensor:
        return ~truth.isnan().any(1)

    def loss(self, answer: Tensor, truth: Tensor) -> Tensor:
        """[B] 1 − cosine."""
        known = self.known(truth)  # [B, H, W]
        wanted = torch.where(known[:, None], truth, 0.0)
        away = known * (1 - F.cosine_similarity(fit(answer, truth.shape), wanted, 1))
        return away.sum((1, 2)) / known.sum((1, 2)).clamp_min(1)

    def tally(self, answer: Tensor, truth: Tensor) -> dict[str, Tensor]:
        known = self.known(truth)
        cosine = F.cosine_similarity(fit(answer, truth.shape), truth, 1)[known].double()
        return {"degrees": cosine.clamp(-1, 1).acos().rad2deg().sum(), "pixels": known.double().sum()}

    def score(self, tally: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Degrees between answer and truth, a mean over all known pixels of all images."""
        return {"mean_angle": tally["degrees"] / tally["pixels"]}

    def draw(self, values: Tensor) -> Tensor:
        """-1..1 as 0..255 in each channel."""
        return (255 * (values + 1) / 2).nan_to_num(0.0).round().to(torch.uint8)

    @property
    def record(self) -> Mapping[str, RecordColumn]:
        return {"normal": RecordColumn("float16", 3)}

    def compact(self, answer: Tensor, points: Tensor) -> dict[str, Tensor]:
        """With |x| for x: a record is read in views that are mirrored or not, and cannot know which."""
        return {"normal": _mirrorless(at_points(answer, points)).half()}

    def error(self, compact: Mapping[str, Tensor], truth: Tensor) -> Tensor:
        there = _mirrorless(truth.mT)
        away = 1 - F.cosine_similarity(compact["normal"].float(), there, -1)
        return torch.where(there.isnan().any(-1), torch.nan, away)

    def recall(self, past: Mapping[str, Tensor], answer: Tensor, points: Tensor) -> Tensor:
        now = _mirrorless(at_points(answer, points))
        return 1 - F.cosine_similarity(past["normal"].float(), now, -1)

    def as_truth(self, answer: Tensor) -> Tensor:
        return answer


def _mirrorless(normal: Tensor) -> Tensor:
    """[..., 3] with x made positive."""
    return torch.cat([normal[..., :1].abs(), normal[..., 1:]], -1)
