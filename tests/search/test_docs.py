"""The sweep of docs/sweeps.md is what a stranger copies: it is built here as it stands."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from jobs.distill import scenes
from jointdistill.search.schedulers.pbt import Pbt
from jointdistill.search.space import Choice, LogUniform, Uniform
from jointdistill.search.sweep import Sweep
from jointdistill.trajectory.own_past import OwnPast

DOC = Path(__file__).parents[2] / "docs" / "sweeps.md"
(SWEEP,) = re.findall(r"```python\n(.*?)```", DOC.read_text(), re.DOTALL)


def test_the_sweep_of_the_page_is_one() -> None:
    words = (Choice, LogUniform, OwnPast, Pbt, Sweep, Uniform, replace, scenes)
    sweep = eval(SWEEP, {word.__name__: word for word in words})
    assert isinstance(sweep, Sweep) and len(sweep.space) == 3
