"""What a person sees of a run: one progress bar, and a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich.box import SIMPLE
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from jointdistill.launch.work import Message, Note, Picture
from jointdistill.tasks.base import Heading, Task
from jointdistill.types import StepReport

CONSOLE = Console(highlight=False)


def progress() -> Progress:
    """A progress display as all jobs have it."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<32}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
        console=CONSOLE,
    )


@contextmanager
def counted(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that is told how many of `total` are done."""
    with progress() as shown:
        task = shown.add_task(title, total=total, said="")
        yield lambda done: shown.update(task, completed=done)


class Bar:
    """The progress of one run."""

    def __init__(self, title: str, steps: int) -> None:
        self._progress = progress()
        self._task = self._progress.add_task(title, total=steps, said="starting")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.live.transient = raised is not None  # half a bar says nothing beside an error
        self._progress.stop()

    def __call__(self, message: Message) -> None:
        """Take a run's message."""
        match message:
            case StepReport():
                self._progress.update(self._task, completed=message.step)
                if "images_per_s" in message.metrics:
                    self._progress.update(self._task, said=f"{message.metrics['images_per_s']:.0f} images/s")
            case Note():
                self._progress.console.print(f"[dim]{message.text}[/dim]")
            case Picture():
                pass


def table(title: str, rows: Sequence[tuple[str, Mapping[str, float]]], tasks: Mapping[str, Task]) -> Table:
    """Scores side by side, 80 characters wide for two tasks; what a row does not have stays empty."""
    shown = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    shown.add_column("", no_wrap=True)
    columns = _columns(tasks)
    for heading in columns.values():
        shown.add_column(heading.text, justify="right", no_wrap=True)
    for name, values in rows:
        shown.add_row(name, *(_cell(values.get(key), heading) for key, heading in columns.items()))
    return shown


def _columns(tasks: Mapping[str, Task]) -> dict[str, Heading]:
    """Key of a row → its column: the metrics that each task would show, then size and speed."""
    columns = {}
    for name, task in tasks.items():
        headline = next(iter(task.scores))
        for metric, heading in (task.headings or {headline: Heading(headline)}).items():
            columns[f"{name}/{metric}"] = heading
    size, speed = Heading("M par.", 1e-6, 2), Heading("img/s", decimals=0)
    return {**columns, "parameters": size, "inference_images_per_s": speed}


def _cell(value: float | None, heading: Heading) -> str:
    return "–" if value is None else f"{value * heading.factor:,.{heading.decimals}f}"
