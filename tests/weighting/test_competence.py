from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from jointdistill.types import Feedback, Stats
from jointdistill.weighting.competence import Competence
from tests.weighting.play import FEEDBACK, TERMS, by, falling, weighed
from tests.weighting.toy import DEPTH, SEGMENTATION, THREE, TWO, feedback, learnt, played

# -- size ------------------------------------------------------------------------------------------------


def test_a_loss_100_times_as_large_changes_nothing() -> None:
    scale = torch.tensor([100.0 if term.loss == "tempered_kl" else 1.0 for term in TERMS])
    means = falling(TERMS)
    small, large = played(Competence()), played(Competence(), means=lambda step: scale * means(step))
    assert by("weight", large.log()) == pytest.approx(by("weight", small.log()))
    one = weighed(small, TERMS, means(200)).weight
    other = weighed(large, TERMS, means(200)).weight
    torch.testing.assert_close(other * scale.unsqueeze(1), one)


def test_a_standardised_loss_is_1_on_average() -> None:
    knobs = Competence(gate=False, gap=0, imitation=0, reliability=0)
    means = falling((DEPTH,), noise=0.3)
    method = played(knobs, (DEPTH,), lambda step: means(step % 50))
    products = [
        weighed(method, (DEPTH,), means(step)).weight.item() * means(step).item() for step in range(50)
    ]
    assert sum(products) / 50 == pytest.approx(1, rel=0.05)


def test_a_loss_that_vanishes_is_not_blown_up() -> None:
    method = played(
        Competence(gate=False), (DEPTH,), lambda step: torch.tensor([1.0 if step < 100 else 1e-9]), steps=900
    )
    assert by("factor", method.log())["near/depth/log_l1"] == pytest.approx(20)


def test_raw_losses_take_the_weight_as_it_is_and_at_once() -> None:
    method = Competence(standardise=False, gate=False, gain=3.0).build(TERMS)
    weights = by("weight", method.log())
    for name, factor in by("factor", method.log()).items():
        pair = name.rpartition("/")[0]
        losses = sum(str(term).startswith(f"{pair}/") for term in TERMS)
        assert factor == pytest.approx(3.0 * weights[pair] / losses)


def test_a_loss_waits_until_its_size_is_known() -> None:
    method = Competence().build(TWO)
    assert weighed(method, TWO, torch.ones(3)).weight[:, 0].tolist() == [1, 0, 0]
    method.after_step(Stats(1, torch.tensor([[1.0, 2.0, math.nan]], dtype=torch.float64)))
    label, depth, segmentation = weighed(method, TWO, torch.ones(3)).weight[:, 0].tolist()
    assert (label, depth, segmentation) == (1, pytest.approx(0.5), 0)


# -- bounds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["catch-up", "ability-following"])
@pytest.mark.parametrize("floor", [0.02, 0.1, 1.0])
def test_weights_sum_to_the_number_of_tasks_and_nobody_starves(direction: str, floor: float) -> None:
    knobs = Competence(direction=direction, floor=floor, temperature=0.01, progress=1)
    hear = replace(FEEDBACK, student={"depth": 1e6, "segmentation": 1e-6})
    weights = by("weight", played(knobs, hear=hear).log())
    assert sum(weights.values()) == pytest.approx(2)
    teachers = {"depth": 2, "segmentation": 1}
    for name, weight in weights.items():
        least = floor * floor / teachers[name.split("/")[1]]
        assert weight >= least * (1 - 1e-9)


def test_a_gap_counts_at_most_to_the_clip() -> None:
    weights = by(
        "weight", played(Competence(imitation=0), (DEPTH, SEGMENTATION), hear=feedback(1e9, 1e-9)).log()
    )
    share = math.exp(2) / (math.exp(2) + math.exp(-2))
    assert weights["near/depth"] == pytest.approx(0.9 * 2 * share + 0.1)


def test_weights_are_uniform_during_the_warm_up() -> None:
    knobs = Competence(warmup_steps=100)
    uniform = {"near/depth": 0.5, "far/depth": 0.5, "city/segmentation": 1.0}
    assert by("weight", played(knobs, steps=90).log()) == pytest.approx(uniform)
    assert by("weight", played(knobs, steps=100).log()) != pytest.approx(uniform, rel=0.01)


def test_a_pair_shares_its_weight_among_its_losses() -> None:
    means = torch.tensor([1.0, 2.0, 8.0, 1.0, 4.0, 2.0, 2.0])
    method = played(Competence(gate=False), means=lambda _: means)
    weight, factor = by("weight", method.log()), by("factor", method.log())
    assert factor["near/depth/log_l1"] * 2 == pytest.approx(weight["near/depth"] / 2)
    assert factor["near/depth/attention"] * 8 == pytest.approx(weight["near/depth"] / 2)
    assert factor["city/segmentation/tempered_kl"] * 4 == pytest.approx(weight["city/segmentation"])


# -- what steers -----------------------------------------------------------------------------------------


def test_the_directions_differ_in_whom_they_help() -> None:
    assert learnt(Competence(direction="catch-up"))["city/segmentation"] > 1.1
    assert learnt(Competence(direction="ability-following"))["city/segmentation"] < 0.9


@pytest.mark.parametrize("only", ["gap", "imitation", "progress"])
def test_each_input_steers_alone_and_off_means_uniform(only: str) -> None:
    off = Competence(gap=0, imitation=0, progress=0, reliability=0)
    assert learnt(off) == pytest.approx({"near/depth": 1, "city/segmentation": 1})
    coefficient = 30.0 if only == "progress" else 1.0  # a slope is small: a window is 10 steps
    assert learnt(replace(off, **{only: coefficient}))["city/segmentation"] > 1.02


def test_the_gap_is_the_formulas() -> None:
    method = Competence().build((DEPTH, SEGMENTATION))
    method.observe(feedback(0.4, 0.1))
    assert by("gap", method.log()) == pytest.approx({"depth": math.log(2), "segmentation": -math.log(2)})
    method.observe(feedback(0.2, 0.1))  # a mean of what it was and 0, the newer one counting double
    assert by("gap", method.log())["depth"] == pytest.approx(math.log(2) / 3)


def test_the_gap_is_to_the_best_teacher() -> None:
    method = Competence().build(THREE)
    method.observe(
        Feedback(
            0,
            {"segmentation": 0.5},
            {
                name: {"segmentation": loss}
                for name, loss in (("one", 0.25), ("two", 0.5), ("wrong", math.nan))
            },
        )
    )
    assert by("gap", method.log()) == pytest.approx({"segmentation": math.log(2)})


def test_the_gate_falls_once_the_student_passes_its_teacher() -> None:
    method = Competence().build((DEPTH, SEGMENTATION))
    gates = []
    for student in (0.8, 0.2, 0.1, 0.02, 0.001):
        method.observe(feedback(student, 0.8))
        gates.append(by("gate", method.log()))
    depth = [gate["depth"] for gate in gates]
    assert depth == sorted(depth, reverse=True)
    assert depth[0] > 0.99
    assert depth[-1] == 0.05
    assert gates[-1]["segmentation"] > 0.99


def test_the_gate_scales_what_is_distilled_and_not_the_labels() -> None:
    method = Competence(standardise=False).build(TWO)
    method.observe(feedback(1e-3, 100.0))
    torch.testing.assert_close(
        weighed(method, TWO, torch.ones(3)).weight[:, 0], torch.tensor([1.0, 0.05, 1.0])
    )


def test_an_unreliable_teacher_gets_at_most_half_its_share() -> None:
    hear = Feedback(
        0,
        {"segmentation": 2.0},
        {n: {"segmentation": g} for n, g in (("one", 0.4), ("two", 0.4), ("wrong", 1.2))},
    )
    weights = by("weight", played(Competence(), THREE, hear=hear).log())
    assert weights["wrong/segmentation"] <= 0.5 / 3
    assert weights["one/segmentation"] == pytest.approx(weights["two/segmentation"])


def test_a_teacher_of_unknown_reliability_counts_as_the_mean() -> None:
    hear = Feedback(0, {}, {"one": {"segmentation": 0.2}, "two": {"segmentation": 0.2}})
    weights = by("weight", played(Competence(), THREE, hear=hear).log())
    assert list(weights.values()) == pytest.approx([1 / 3] * 3)
