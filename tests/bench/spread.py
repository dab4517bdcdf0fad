"""Medians with their uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def median(values: Sequence[float]) -> float:
    """The median, to be printed."""
    return round(float(np.median(values)), 4)


def interval(values: Sequence[float], resamples: int = 2000) -> list[float]:
    """95 % interval of the median, by bootstrap (Efron, 1979)."""
    generator = np.random.default_rng(0)
    drawn = generator.choice(np.asarray(values), (resamples, len(values)))
    return [round(float(bound), 4) for bound in np.quantile(np.median(drawn, 1), [0.025, 0.975])]
