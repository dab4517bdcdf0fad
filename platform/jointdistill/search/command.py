"""The command line of a sweep: a named one, its budget and methods by flag, and one way to end.

python jobs/sweep.py weighting --trials 32 --scheduler asha --scheduler.grace 100
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import cleandoc
from typing import Annotated, Any

import tyro

from jointdistill.experiment import Experiment
from jointdistill.launch.addresses import storage_of
from jointdistill.launch.command import Order, choose, fill, method, take_words
from jointdistill.launch.console import CONSOLE
from jointdistill.launch.show import show as show_run
from jointdistill.launch.work import Message, Note
from jointdistill.place import Launch
from jointdistill.recipe import methods_in
from jointdistill.search.answers import Answers
from jointdistill.search.conduct import conduct
from jointdistill.search.estimate import estimate
from jointdistill.search.schedulers.base import SchedulerRecipe
from jointdistill.search.searchers.base import SearcherRecipe
from jointdistill.search.space import turned
from jointdistill.search.sweep import Sweep
from jointdistill.search.tuning import Share
from jointdistill.store.base import Missing
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal

Sweeps = Mapping[str, Callable[[], Sweep]]


@dataclass(frozen=True)
class Asked:
    """What of a sweep can be said by flag: all but its space."""

    name: str
    """By which it goes on; its trials are the runs NAME-000, NAME-001 …"""
    base: Experiment
    objectives: tuple[str, ...]
    """`delta_m` or any task/metric; several make a Pareto front."""
    searcher: SearcherRecipe
    scheduler: SchedulerRecipe
    trials: int
    """How many at most; of a population its size."""
    hours: float
    """After so long no trial begins or goes on; 0: no limit."""
    gpu_hours: float
    """The same by what all trials together have used; 0: no limit."""
    seed: int
    """Of the points; the experiment has its own, --base.seed."""


@dataclass(frozen=True)
class SweepOrder:
    """What a user asked for."""

    asked: Annotated[Asked, tyro.conf.arg(name="")]
    launch: Annotated[Launch, tyro.conf.arg(name="")] = field(default_factory=Launch)
    share: Annotated[Share, tyro.conf.arg(name="")] = field(default_factory=Share)
    dry_run: bool = False
    """Print the space, the trials and an estimate of time and cost from a few real steps, and stop."""
    trial: str = ""
    """Run a trial of the sweep alone, such as NAME-007: to its end, as a run of its own."""


def parse(sweeps: Sweeps, about: str, launch: Launch, arguments: Sequence[str]) -> tuple[Sweep, SweepOrder]:
    """The sweep of a command line, and how it is to run. Raises `Refusal` for an unknown sweep or method."""
    name, flags = choose(sweeps, "sweep", about, arguments)
    sweep = sweeps[name]()
    words, flags = take_words(flags, "--searcher", "--scheduler")
    known: dict[str, Any] = {each.name: getattr(sweep, each.name) for each in fields(Asked)}
    if "--searcher" in words:
        known["searcher"] = method(_searchers(), words["--searcher"], "--searcher")()
    if "--scheduler" in words:
        known["scheduler"] = method(_schedulers(), words["--scheduler"], "--scheduler")()
    space = "\n".join(f"  {knob}: {values}" for knob, values in sweep.space.items())
    told = (
        f"{cleandoc(sweeps[name].__doc__ or about)}\n\nSpace:\n{space}\n\nMethods are chosen by a word, and "
        f"their knobs are then flags:\n--searcher {' | '.join(_searchers())}\n"
        f"--scheduler {' | '.join(_schedulers())}"
    )
    order = fill(SweepOrder(Asked(**known), launch), told, flags, name)
    said = {each.name: getattr(order.asked, each.name) for each in fields(Asked)}
    return replace(sweep, **said), order  # all at once: flags may be sound only together


def show(sweep: Sweep, order: SweepOrder) -> None:
    """Run a sweep and print what it found; or say what it would do; or run one of its trials alone."""
    if order.trial:
        show_run(Order(_experiment(sweep, order), order.launch, order.dry_run))
    elif order.dry_run:
        CONSOLE.print(estimate(sweep, order.launch, order.share))
    else:
        report = conduct(sweep, order.launch, order.share, _tell)
        CONSOLE.print(report.table())
        if best := report.best:
            CONSOLE.print(f"The best trial alone: the same command with --trial {best.run}")


def _experiment(sweep: Sweep, order: SweepOrder) -> Experiment:
    """The experiment of a trial."""
    answers = Answers(open_store(storage_of(order.launch.storage)), sweep.name)
    try:
        point, origin = answers.point(order.trial)
    except Missing:
        raise Refusal(
            f"The sweep '{sweep.name}' has no trial '{order.trial}': give one of the runs below it in MLflow."
        ) from None
    return replace(turned(sweep.base, sweep.space, point), origin=origin or sweep.base.origin)


def _tell(message: Message) -> None:
    if isinstance(message, Note):
        CONSOLE.print(f"[dim]{message.text}[/dim]")


def _searchers() -> dict[str, type]:
    return methods_in("jointdistill.search.searchers", SearcherRecipe)


def _schedulers() -> dict[str, type]:
    return methods_in("jointdistill.search.schedulers", SchedulerRecipe)
