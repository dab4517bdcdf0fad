"""Depth in metres."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jointdistill.tasks.base import Heading, RecordColumn, Task
from jointdistill.tasks.colour import turbo
from jointdistill.tasks.geometry import at_points, fit, resample
from jointdistill.types import Card, Refusal
from jointdistill.warp import Warp


@final
@dataclass(frozen=True)
class Depth(Task):
    """Distance from the camera's plane: answers and truths are [B, 1, H, W] metres, NaN where unknown.

    A truth outside `min_m..max_m` counts as unknown, in the loss and in the metrics: sensors saturate
    there, and the published protocols cut there as well. The stored truth keeps its value, because a view
    that zooms in may bring it back into the range.
    """

    min_m: float = 0.1
    """Nearest depth that counts, in metres."""
    max_m: float = 80.0
    """Farthest depth that counts, in metres."""
    silog: float = 1.0
    """Weight of SILog in the loss. Lee et al. print it as 10."""
    log_l1: float = 1.0
    """Weight of the mean |log error|, which gives a steady pull where SILog's is weak."""
    focus: float = 0.85
    """λ of SILog: 1 forgives a wrong scale of the whole image, 0 does not."""

    scores: ClassVar[Mapping[str, bool]] = {
        "abs_rel": False,
        "rmse": False,
        "rmse_log": False,
        "silog": False,
        "delta1": True,
        "delta2": True,
        "delta3": True,
    }
    headings: ClassVar[Mapping[str, Heading]] = {
        "abs_rel": Heading("AbsRel"),
        "rmse": Heading("RMSE m", decimals=2),
        "delta1": Heading("δ1 %", 100, 1),
    }

    def __post_init__(self) -> None:
        if not 0 < self.min_m < self.max_m < math.inf:
            raise Refusal(f"Depth needs 0 < min_m < max_m, not {self.min_m} and {self.max_m}.")
        if min(self.silog, self.log_l1) < 0 or self.silog + self.log_l1 == 0:
            raise Refusal("Depth needs weights silog and log_l1 ≥ 0, and one of them above 0.")
        if not 0 <= self.focus <= 1:
            raise Refusal(f"Depth needs a focus in 0..1, not {self.focus}.")

    @property
    def column(self) -> str:
        """`depth`."""
        return "depth"

    @property
    def channels(self) -> int:
        """One."""
        return 1

    @property
    def unit(self) -> str:
        """`metre`."""
        return "metre"

    @property
    def counted(self) -> tuple[float, ...]:
        """Its range."""
        return self.min_m, self.max_m

    def decode(self, stored: NDArray[Any], card: Card) -> NDArray[np.float32]:
        """[1, H, W] metres from [H, W] integers (÷ the card's `depth_scale`, 0 unknown) or float metres."""
        if stored.ndim != 2:
            raise ValueError(f"a depth is stored as [H, W], not as {list(stored.shape)}")
        if stored.dtype.kind in "iu":
            metres = np.where(stored == 0, np.nan, stored / card.depth_scale)
        elif stored.dtype.kind == "f":
            metres = stored
        else:
            raise ValueError(f"a depth is stored as integers or floats, not as {stored.dtype}")
        wrong = np.isinf(metres) | (metres <= 0)
        if wrong.any():
            raise ValueError(f"{wrong.sum()} depths are 0, negative or infinite: store NaN where unknown")
        return metres.astype(np.float32)[None]

    def unknown(self, height: int, width: int) -> NDArray[np.float32]:
        """[1, H, W] of NaN."""
        return np.full((1, height, width), np.nan, np.float32)

    def warp(self, truth: Tensor, warp: Warp, size: tuple[int, int]) -> Tensor:
        """Depth [B, 1, *size] of the views; what looks twice as large stands at half the distance."""
        # No depth is 0, so 0 can stand for unknown, beyond the edge and within. Nearest: a mean of two
        # depths at an edge is the depth of nothing.
        moved = resample(truth.nan_to_num(0.0), warp, size, "nearest")
        return torch.where(moved > 0, moved / warp.zoom[:, None, None, None], torch.nan)

    def answer(self, raw: Tensor) -> Tensor:
        """Metres from raw log depth: 0 is the middle of the range (2.8 m), and the slope there is 1."""
        # tanh closes the range smoothly: a hard clamp would leave a pixel beyond it without a gradient.
        half = math.log(self.max_m / self.min_m) / 2
        middle = math.log(self.max_m * self.min_m) / 2
        return torch.exp(middle + half * torch.tanh(raw.float() / half))

    def known(self, truth: Tensor) -> Tensor:
        """Within the range; NaN is in none."""
        return (truth >= self.min_m) & (truth <= self.max_m)

    def loss(self, answer: Tensor, truth: Tensor) -> Tensor:
        """[B] silog · SILog + log_l1 · mean |g|, where g = log answer − log truth over known pixels.

        SILog = sqrt(mean g² − λ (mean g)²): the scale-invariant error of Eigen et al. (NeurIPS 2014) under
        the root that Lee et al. (BTS, arXiv 1907.10326) put over it.
        """
        known = self.known(truth)
        error = self._log(fit(answer, truth.shape)) - torch.where(known, truth, 1.0).log()
        error = torch.where(known, error, 0.0).flatten(1)  # [B, H W]
        known, count = known.flatten(1), known.flatten(1).sum(1).clamp_min(1)
        mean = error.sum(1) / count
        # As variance + (1 − λ) mean² the radicand cannot round to below 0.
        variance = torch.where(known, error - mean[:, None], 0.0).square().sum(1) / count
        # The root's slope is infinite at 0: it is taken from a little to the right.
        little = 1e-6
        silog = (variance + (1 - self.focus) * mean.square() + little).sqrt() - math.sqrt(little)
        return self.silog * silog + self.log_l1 * error.abs().sum(1) / count

    def tally(self, answer: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Sums of what `score` needs; an answer outside the range counts as its nearest end."""
        known = self.known(truth)
        there = truth[known].double()
        depth = fit(answer, truth.shape)[known].double().clamp(self.min_m, self.max_m)
        log_error = depth.log() - there.log()
        within = {f"delta{n}": (log_error.abs() < n * math.log(1.25)).double().sum() for n in (1, 2, 3)}
        return {
            "pixels": known.double().sum(),
            "abs_rel": ((depth - there).abs() / there).sum(),
            "square": (depth - there).square().sum(),
            "square_log": log_error.square().sum(),
            "log_error": log_error.sum(),
            **within,
        }

    def score(self, tally: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The usual errors of depth, over all known pixels of all images (Eigen et al., NeurIPS 2014).
        Code that averages over images instead, as KITTI's does, prints smaller roots for the same answers.

        With d the answer, t the truth, g = log d − log t: abs_rel = mean |d − t| / t; rmse in metres;
        rmse_log of g; silog = 100 · the standard deviation of g, so over all images, a scale of each image's
        own counts; delta-n = share of pixels where max(d / t, t / d) < 1.25ⁿ.
        """
        mean = {name: total / tally["pixels"] for name, total in tally.items()}
        variance = (mean["square_log"] - mean["log_error"].square()).clamp_min(0)
        return {
            "abs_rel": mean["abs_rel"],
            "rmse": mean["square"].sqrt(),
            "rmse_log": mean["square_log"].sqrt(),
            "silog": 100 * variance.sqrt(),
            "delta1": mean["delta1"],
            "delta2": mean["delta2"],
            "delta3": mean["delta3"],
        }

    def draw(self, values: Tensor) -> Tensor:
        """Log depth from red (`min_m`) to blue (`max_m`): one scale for all images, so pictures compare."""
        share = (self._log(values) - math.log(self.min_m)) / math.log(self.max_m / self.min_m)
        return turbo(1 - share[:, 0])

    @property
    def record(self) -> Mapping[str, RecordColumn]:
        """Log depth in 2 bytes, exact to 0.2 %."""
        return {"log_depth": RecordColumn("float16", 1)}

    def compact(self, answer: Tensor, points: Tensor) -> dict[str, Tensor]:
        """Log depth [B, m, 1] of the view."""
        return {"log_depth": at_points(self._log(answer), points).half()}

    def error(self, compact: Mapping[str, Tensor], truth: Tensor) -> Tensor:
        """|log depth − log truth|."""
        known = torch.where(self.known(truth), truth, torch.nan)  # [B, 1, m]
        return (compact["log_depth"].float() - known.log().mT).abs()[..., 0]

    def recall(self, past: Mapping[str, Tensor], answer: Tensor, points: Tensor) -> Tensor:
        """|log past − log now|."""
        now = at_points(self._log(answer), points)
        return (past["log_depth"].float() - now).abs()[..., 0]

    def as_truth(self, answer: Tensor) -> Tensor:
        """The answer itself: both are metres."""
        return answer

    def rescale(self, compact: Mapping[str, Tensor], zoom: Tensor) -> dict[str, Tensor]:
        """Divide by the zoom, which in log depth is to subtract."""
        log_depth = compact["log_depth"]
        return {"log_depth": (log_depth.float() - zoom.log()[:, None, None]).to(log_depth.dtype)}

    def _log(self, depth: Tensor) -> Tensor:
        """Log of a depth, which a foreign teacher may put outside the range or at 0."""
        return depth.float().clamp(self.min_m, self.max_m).log()
