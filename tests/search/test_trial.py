"""A trial in this process: what it is before Tune has a say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import pytest

from jointdistill.launch.stop import StopSign
from jointdistill.search.answers import Answers
from jointdistill.search.conduct import prepare
from jointdistill.search.posts import Posted
from jointdistill.search.schedulers.pbt import Pbt
from jointdistill.search.trial import Trial
from jointdistill.search.tuning import Share
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.engine import small
from tests.search import stub


class Ended(Exception):
    """What ends the process of a trial that has kept its snapshot."""


class Nobody:
    """Takes what is posted, and asks nobody to stop, unless it is told to."""

    stops = False

    def __call__(self, posted: Posted) -> None:
        pass

    @contextmanager
    def listening(self) -> Iterator[StopSign]:
        sign = StopSign()
        if self.stops:
            sign.asked.set()
        yield sign

    def await_end(self, run: str) -> NoReturn:
        raise Ended


@pytest.fixture
def post() -> Nobody:
    return Nobody()


@pytest.fixture
def trial(tmp_path: Path, post: Any) -> Trial:
    sweep = stub.sweep(tmp_path, "pop", trials=2, scheduler=Pbt(10))
    return Trial(prepare(sweep, small.launch(tmp_path), Share(), stub.segment())[1], post)


def point(gain: float) -> dict[str, float]:
    return {"weighting.gain": gain, "weighting.temperature": 1.0}


def test_a_clone_with_other_knobs_is_not_given_the_answers_of_an_earlier_one(trial: Trial) -> None:
    trial.become("pop-000", point(1.0))
    trial.step()
    donor = trial.keep()

    def clone(gain: float) -> dict[str, Any]:
        trial.become("pop-001", point(gain))
        trial.go_on(donor)
        return trial.step()

    assert clone(1.2)["run"] == "pop-001.at-10"
    assert clone(1.2)["run"] == "pop-001.at-10"  # by another driver, say
    with pytest.raises(Refusal, match=r"pop-001\.at-10 began at .*1\.2.* and would now begin at .*3\.9"):
        clone(3.9)


def test_what_stopped_segments_cost_is_part_of_the_answer(trial: Trial, post: Nobody, tmp_path: Path) -> None:
    answers = Answers(open_store(str(tmp_path / "storage")), "pop")
    trial.become("pop-000", point(1.0))
    post.stops = True
    with patch("jointdistill.search.trial._kept", return_value=0), pytest.raises(Ended):
        trial.step()
    (where,) = answers.spent_for_nothing_yet()
    assert where == ("pop-000", 10)
    answers.spend(*where, 30.0)
    assert 30 < answers.spent_for_nothing_yet()[where] < 60
    post.stops = False
    trial.step()
    answer = answers.get(*where)
    assert answer is not None and 30 < answer.seconds < 60
    assert not answers.spent_for_nothing_yet()
