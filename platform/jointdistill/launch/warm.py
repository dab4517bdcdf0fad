"""Imports what a worker trains with, before anybody waits for it."""

from __future__ import annotations

import gc


def warm() -> None:
    """Import all that a worker needs up to its first step.

    Meanwhile Python's collector is off: it would go again and again through modules that are there to stay,
    for a quarter of the time that they take. It does not look at them later, either.
    """
    gc.disable()
    try:
        import torch._dynamo  # noqa: F401  # every optimiser and DDP ask for it, when they are made

        import jointdistill.launch.worker  # noqa: F401
    finally:
        gc.freeze()
        gc.enable()
