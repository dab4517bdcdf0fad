"""A trial may have no score at a rung: its headline was not finite, or is known of finished students only."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from jointdistill.search.objective import Objective
from jointdistill.search.schedulers.base import Race
from jointdistill.search.schedulers.pb2 import Pb2
from jointdistill.search.searchers.base import Search
from jointdistill.search.searchers.tpe import Tpe
from jointdistill.search.space import Space, Uniform

SPACE: Space = {"weighting.gain": Uniform(0.0, 1.0)}
SCORE = Objective("delta_m", True)


class Named:
    """A trial by its name."""

    def __init__(self, name: str, gain: float) -> None:
        self.name, self.config = name, {"weighting.gain": gain}

    def __str__(self) -> str:
        return self.name


def test_a_thinking_searcher_hears_of_ends_only() -> None:
    searcher = Tpe(1).build(Search(SPACE, (SCORE,), trials=8, seed=0, at_once=2))
    for trial in ("first", "second"):
        point = searcher.suggest(trial)
        assert 0 <= point["weighting.gain"] <= 1
        searcher.on_trial_result(trial, {"training_iteration": 1})
    searcher.on_trial_complete("first", {"delta_m": -0.1})
    searcher.on_trial_complete("second", {}, error=True)
    assert searcher.suggest("third")["weighting.gain"] != point["weighting.gain"]


@pytest.mark.filterwarnings("ignore:scipy.optimize")  # which scikit-learn calls the old way
def test_a_bandit_learns_from_what_had_a_score() -> None:
    scheduler: Any = Pb2(10).build(Race(SPACE, SCORE, 80, seed=0))
    rows = [
        (trial, step, gain, reward)
        for trial, gain in (("a", 0.2), ("b", 0.5), ("c", 0.8))
        for step, reward in ((10, gain), (20, -math.inf if trial == "c" else 2 * gain))
    ]
    scheduler.data = pd.DataFrame(rows, columns=["Trial", "Time", "weighting.gain", "Reward"])
    point, _ = scheduler._get_new_config(Named("c", 0.8), Named("b", 0.5))
    assert 0 <= point["weighting.gain"] <= 1
