"""Imports in advance."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from jointdistill.launch.warm import warm

STEP = """
import sys
from jointdistill.launch.warm import warm

warm("jointdistill.launch.worker")
before = set(sys.modules)
import torch

at = torch.nn.Parameter(torch.zeros(3))
optimiser = torch.optim.AdamW([at])
at.sum().backward()
optimiser.step()
print(len(set(sys.modules) - before))
"""


def test_the_first_step_finds_its_imports_done():
    done = subprocess.run([sys.executable, "-c", STEP], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 5  # they are 190 without


def test_the_collector_is_back_whatever_an_import_does():
    with pytest.raises(ImportError):
        warm("jointdistill.nowhere")
    assert gc.isenabled()
    gc.unfreeze()
