"""Runs what was ordered, with somebody watching."""

from __future__ import annotations

from jointdistill.launch.command import Order
from jointdistill.launch.console import CONSOLE, Bar, table
from jointdistill.launch.plan import plan
from jointdistill.launch.run import run
from jointdistill.launch.work import Outcome


def show(order: Order) -> Outcome | None:
    """Run an order with a progress bar and print its scores; or print what it would do, if it is dry."""
    if order.dry_run:
        CONSOLE.print(plan(order.experiment, order.launch))
        return None
    with Bar(order.experiment.name, order.experiment.optimise.steps) as bar:
        outcome = run(order.experiment, order.launch, bar)
    name, tasks = order.experiment.name, order.experiment.tasks
    CONSOLE.print(table(f"{name}, validation split", [(name, outcome.row)], tasks))
    return outcome
