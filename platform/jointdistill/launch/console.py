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
from jointdistill.types import StepReport

CONSOLE = Console(highlight=False)

COLUMNS = (
    ("segmentation/miou", "mIoU %", 100, 1),
    ("segmentation/pixel_accuracy", "acc. %", 100, 1),
    ("depth/abs_rel", "AbsRel", 1, 3),
    ("depth/rmse", "RMSE m", 1, 2),
    ("depth/delta1", "δ1 %", 100, 1),
    ("parameters", "M par.", 1e-6, 2),
    ("images_per_s", "img/s", 1, 0),
)
"""Key, heading, factor, decimals."""


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


def table(title: str, rows: Sequence[tuple[str, Mapping[str, float]]]) -> Table:
    """Scores side by side, 80 characters wide; what a row does not have stays empty."""
    shown = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=SIMPLE,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    shown.add_column("", no_wrap=True)
    for _, heading, _, _ in COLUMNS:
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, values in rows:
        shown.add_row(name, *(_cell(values.get(key), *form) for key, _, *form in COLUMNS))
    return shown


def _cell(value: float | None, factor: float, decimals: int) -> str:
    return "–" if value is None else f"{value * factor:,.{decimals}f}"
