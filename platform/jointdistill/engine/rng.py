"""The state of a rank's random number generators.

Order and views are functions of seed and step and need none of them. Layers that draw (dropout, stochastic
depth of a foreign backbone) and methods to come do.
"""

from __future__ import annotations

import math
import random

import numpy as np
import torch
from torch import Tensor


def begin(seed: int, rank: int) -> None:
    """Begin to draw: every rank its own numbers, the same in every run."""
    mine = (seed + 7919 * rank) % 2**32
    torch.manual_seed(mine)
    np.random.seed(mine)  # noqa: NPY002 - the global one is what others use
    random.seed(mine)


def take() -> dict[str, Tensor]:
    """The generators of torch, NumPy and Python."""
    name, keys, *place = np.random.get_state(legacy=True)  # noqa: NPY002
    version, words, gauss = random.getstate()
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.array(keys, dtype=np.int64)),
        "numpy.place": torch.tensor([float(value) for value in place], dtype=torch.float64),
        "python": torch.tensor(words),
        "python.gauss": torch.tensor([torch.nan if gauss is None else gauss], dtype=torch.float64),
    }
    assert (name, version) == ("MT19937", 3)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # a run on the CPU must not wake it
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore(states: dict[str, Tensor]) -> None:
    """Go on drawing where `take` was called."""
    torch.set_rng_state(states["torch"])
    position, has_gauss, cached = states["numpy.place"].tolist()
    keys = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))  # noqa: NPY002
    gauss = states["python.gauss"].item()
    random.setstate((3, tuple(states["python"].tolist()), None if math.isnan(gauss) else gauss))
    if "cuda" in states and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.set_rng_state(states["cuda"])
