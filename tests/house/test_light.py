"""What a process imports that only passes messages on: it starts on the cores that the workers start on."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "pandas", "pyarrow", "optuna", "kornia", "mlflow", "ray.train", "ray.tune")
FOUND = f"""
import sys, {{}}
print([name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "modules",
    [
        "jointdistill.launch.mailbox, jointdistill.launch.work",
        # With what trials post there.
        "jointdistill.search.postbox, jointdistill.search.answers, jointdistill.engine.subject",
    ],
)
def test_a_mailbox_imports_next_to_nothing(modules):
    done = subprocess.run(
        [sys.executable, "-c", FOUND.format(modules)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
