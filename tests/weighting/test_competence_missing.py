"""What the controller does where something is missing, broken or out of range."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from jointdistill.types import Feedback, Refusal, Stats
from jointdistill.weighting.base import Need
from jointdistill.weighting.competence import Competence
from tests.weighting.play import TERMS, by, falling, stored
from tests.weighting.toy import SEGMENTATION, played

# -- what is missing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_freezes_its_own_entry_only(bad: float) -> None:
    method, means = played(Competence()), falling(TERMS)
    before = method.log()
    row = TERMS.index(SEGMENTATION)
    window = torch.stack([means(step) for step in range(200, 210)])
    window[:, row] = bad
    method.after_step(Stats(210, window))
    frozen = {"imitation_gap/city/segmentation"}
    moved = {"imitation_gap/near/depth", "imitation_gap/far/depth"}
    after = method.log()
    assert all(after[name] == before[name] for name in frozen)
    assert all(after[name] != before[name] for name in moved)
    assert all(math.isfinite(value) for value in after.values())


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0, None])
def test_bad_feedback_changes_nothing(bad: float | None) -> None:
    method = played(Competence())
    before = method.log()
    heard = {} if bad is None else {"depth": bad}
    method.observe(Feedback(200, heard, {"near": heard, "far": heard}))
    assert method.log() == before


def test_one_bad_step_does_not_end_a_loss() -> None:
    means = falling(TERMS)
    method = played(Competence(), means=lambda step: means(step) * (math.nan if step == 57 else 1.0))
    well = played(Competence())
    assert by("weight", method.log()) == pytest.approx(by("weight", well.log()), rel=0.05)


def test_without_any_label_the_imitation_gap_decides() -> None:
    method = played(Competence(), hear=None)
    log = method.log()
    assert by("gate", log) == {"depth": 1, "segmentation": 1}
    assert not by("gap", log)
    assert not by("reliability", log)
    behind = by("imitation_gap", log)
    depth = (behind["near/depth"] + behind["far/depth"]) / 2
    assert (by("weight", log)["city/segmentation"] > 1) == (behind["city/segmentation"] > depth)


def test_a_resumed_run_with_every_input_on_decides_the_same() -> None:
    method = played(Competence(progress=5.0), steps=130)
    resumed = Competence(progress=5.0).build(TERMS)
    resumed.load(stored(method.state()))
    assert resumed.log() == method.log()


# -- knobs -----------------------------------------------------------------------------------------------


def test_feedback_is_asked_for_only_where_it_is_used() -> None:
    deaf = Competence(gap=0, reliability=0, gate=False)
    assert not deaf.build(TERMS).needs
    for hearing in (replace(deaf, gap=1), replace(deaf, reliability=1), replace(deaf, gate=True)):
        assert hearing.build(TERMS).needs == {Need.FEEDBACK}


@pytest.mark.parametrize(
    ("knobs", "named"),
    [
        ({"gap": -1.0}, "gap"),
        ({"gain": math.nan}, "gain"),
        ({"temperature": 0.0}, "temperature"),
        ({"gate_temperature": math.inf}, "gate-temperature"),
        ({"floor": 0.0}, "floor"),
        ({"warmup_steps": 0}, "warmup-steps"),
    ],
)
def test_a_knob_out_of_its_range_is_refused(knobs: dict[str, float], named: str) -> None:
    with pytest.raises(Refusal, match=f"--weighting.{named}"):
        Competence(**knobs)
