"""Imports what a process will train with, before anybody waits for it. At its top it needs nothing itself."""

from __future__ import annotations

import gc
from importlib import import_module


def warm(module: str) -> None:
    """Import a module, and what training asks for up to its first step.

    Meanwhile Python's collector is off: it would go again and again through modules that are there to stay,
    for a quarter of the time that they take. It does not look at them later, either.
    """
    gc.disable()
    try:
        import torch._dynamo  # noqa: F401  # every optimiser and DDP ask for it, when they are made

        import_module(module)
    finally:
        gc.freeze()
        gc.enable()
