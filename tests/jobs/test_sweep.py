"""The sweep's command line: what it says, refuses and estimates."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import sweep
from jointdistill.place import Launch
from jointdistill.search.command import parse
from jointdistill.search.schedulers.asha import Asha
from jointdistill.search.schedulers.base import SchedulerRecipe
from jointdistill.search.schedulers.fifo import Fifo
from jointdistill.search.searchers.base import SearcherRecipe
from jointdistill.search.searchers.random import Random
from jointdistill.search.searchers.tpe import Tpe
from tests.jobs.order import Refused, small_flags


def flags(folder: Path) -> list[str]:
    """Of `jobs/sweep.py weighting` for the miniature data."""
    ours = small_flags(folder)
    base = ("--teachers", "--floors", "--student", "--optimise", "--sampling")
    there = [f"--base.{flag[2:]}" if flag.startswith(base) else flag for flag in ours]
    return [*there, "--storage", f"{folder}/storage", "--tracking", f"sqlite:///{folder}/mlflow.db"]


@pytest.mark.parametrize("name", sweep.SWEEPS)
def test_every_sweep_of_the_jobs_is_sound(name: str) -> None:
    assert sweep.SWEEPS[name]().name == name


def test_a_dry_run_says_what_would_be_tried_and_leaves_no_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    halving = ["--scheduler", "asha"]
    sweep.main(["weighting", *flags(tmp_path), "--dry-run", "--objectives", "segmentation/miou", *halving])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "weighting.gain {'recipe': 'LogUniform', 'low': 0.25, 'high': 4.0}" in said
    assert "objectives segmentation/miou (max)" in said and "trials 16" in said
    assert "scheduler Asha, at steps 3, 6, 12, 20" in said
    assert "about 112 of all trials, 20 of a whole one" in said
    assert "ms a step" in said and "GPU-hours none" in said
    assert not list((tmp_path / "storage" / "runs").rglob("*.json"))


@pytest.mark.parametrize(
    ("words", "searcher", "scheduler"),
    [
        (["weighting-schedule", "--searcher", "tpe", "--scheduler", "fifo"], Tpe(), Fifo()),
        (
            ["weighting-pareto", "--searcher", "random", "--scheduler", "asha", "--objectives", "delta_m"],
            Random(),
            Asha(),
        ),
    ],
)
def test_flags_are_judged_together(
    words: list[str], searcher: SearcherRecipe, scheduler: SchedulerRecipe
) -> None:
    asked, _ = parse(sweep.SWEEPS, "", Launch(), words)
    assert (asked.searcher, asked.scheduler) == (searcher, scheduler)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["weightings"],
            "There is no sweep 'weightings': choose weighting, weighting-pareto, weighting-schedule or",
        ),
        (["weighting", "--scheduler", "hyperband"], "--scheduler knows no 'hyperband': choose asha, fifo"),
        (["weighting", "--searcher", "grid"], "--searcher knows no 'grid': choose random or tpe"),
        (["weighting", "--searcher", "tpe", "--scheduler", "pbt"], "begins with all trials before any ends"),
        (["weighting", "--objectives", "loss"], "Nobody logs the objective 'loss'"),
        (["weighting", "--scheduler", "pb2"], "pb2 models numbers, and 'weighting.direction' is Choice"),
        (["weighting", "--trials", "0"], "--trials must be at least 1"),
        (["weighting", "--hours", "nan"], "--hours and --gpu-hours numbers of at least 0"),
        (["weighting", "--cpus", "0"], "--cpus and --gpus must be above 0"),
    ],
)
def test_bad_words_are_refused(refused: Refused, words: list[str], reason: str) -> None:
    assert reason in refused(sweep.main, *words)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--fresh"], "a sweep goes by its --name, and on"),
        (["--trial", "weighting-007"], "The sweep 'weighting' has no trial 'weighting-007': give one of the"),
        ([], "Δm compares depth/abs_rel with a teacher's, and no teacher says its own"),
    ],
)
def test_what_only_the_storage_knows_is_refused(
    tmp_path: Path, refused: Refused, words: list[str], reason: str
) -> None:
    assert reason in refused(sweep.main, "weighting", *flags(tmp_path), *words)
