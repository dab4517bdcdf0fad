"""A task: its column, geometry, head, loss, metrics, drawing and compact record, in one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

from numpy.typing import NDArray
from torch import Tensor

from jointdistill.recipe import Recipe
from jointdistill.types import Card
from jointdistill.warp import Warp


class RecordColumn(NamedTuple):
    """One column of a task's compact record."""

    dtype: str
    """numpy's name of the type, as stored."""
    width: int
    """Values a point."""


class Heading(NamedTuple):
    """How a table shows a metric."""

    text: str
    factor: float = 1.0
    decimals: int = 3


@dataclass(frozen=True)
class Task(Recipe, ABC):
    """What a student can be asked. A task is a frozen recipe of pure functions; it keeps no state.

    Answers are float [B, C, h, w] at the size the network works at; truths are what `decode` makes of the
    stored column, batched.
    """

    scores: ClassVar[Mapping[str, bool]]
    """Metric → whether more is better. The first one is the task's headline, which Δm compares."""
    headings: ClassVar[Mapping[str, Heading]] = {}
    """Metric → its column in tables; where nothing is said, the headline has one of its own name."""

    @property
    @abstractmethod
    def column(self) -> str:
        """The column of the data set that holds the truth."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of the head's raw output."""

    @property
    def unit(self) -> str:
        """The answer's unit, as a teacher's card must state it."""
        return ""

    @property
    def counted(self) -> tuple[float, ...]:
        """What decides, beside the truth, which pixels a score counts: where it differs none compare."""
        return ()

    def described_by(self, card: Card) -> Self:
        """The task with what only the data set knows filled in (its classes, say)."""
        return self

    # -- data ----------------------------------------------------------------------------------------

    @abstractmethod
    def decode(self, stored: NDArray[Any], card: Card) -> NDArray[Any]:
        """The truth of one image, from the array in the task's column.

        It depends on the card and on no knob of the task, so that all trials of a sweep share one cache.
        Raises `ValueError` with one plain sentence where the values cannot be this task's truth.
        """

    @abstractmethod
    def unknown(self, height: int, width: int) -> NDArray[Any]:
        """The truth of an image that has none, in `decode`'s shape and type."""

    # -- geometry ------------------------------------------------------------------------------------

    @abstractmethod
    def warp(self, truth: Tensor, warp: Warp, size: tuple[int, int]) -> Tensor:
        """The truth of the views: unknown where a view looks past the edge, rescaled where it zooms."""

    # -- learning ------------------------------------------------------------------------------------

    @abstractmethod
    def answer(self, raw: Tensor) -> Tensor:
        """The answer from the head's raw output [B, channels, H, W]."""

    @abstractmethod
    def known(self, truth: Tensor) -> Tensor:
        """bool: the pixels of a truth that count, in loss and metrics."""

    @abstractmethod
    def loss(self, answer: Tensor, truth: Tensor) -> Tensor:
        """[B] the supervised loss, a mean over each image's known pixels; 0 where none is known."""

    # -- scoring -------------------------------------------------------------------------------------

    @abstractmethod
    def tally(self, answer: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Sums over the known pixels, in float64: added over batches and ranks, they are what `score` takes.

        So no split of the images over batches or ranks changes a score.
        """

    @abstractmethod
    def score(self, tally: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Metric → scalar; NaN where no pixel was known."""

    # -- looking -------------------------------------------------------------------------------------

    @abstractmethod
    def draw(self, values: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] picture of answers, or of truths."""

    # -- remembering ---------------------------------------------------------------------------------

    @property
    @abstractmethod
    def record(self) -> Mapping[str, RecordColumn]:
        """The columns that `compact` fills."""

    @abstractmethod
    def compact(self, answer: Tensor, points: Tensor) -> dict[str, Tensor]:
        """The answer at points [B, m, 2] (fractions of the view) as record columns [B, m, width].

        Geometry-dependent values are given for the view; `canonical` undoes the view's zoom.
        """

    @abstractmethod
    def error(self, compact: Mapping[str, Tensor], truth: Tensor) -> Tensor:
        """[B, m] how wrong a record's columns are against the truth [B, …, m] there; NaN where unknown."""

    @abstractmethod
    def recall(self, past: Mapping[str, Tensor], answer: Tensor, points: Tensor) -> Tensor:
        """[B, m] differentiable distance between a past record and the present answer."""

    @abstractmethod
    def as_truth(self, answer: Tensor) -> Tensor:
        """An answer [B, C, …], of a map or of points, in the truth's form: a teacher's opinion."""

    def rescale(self, compact: Mapping[str, Tensor], zoom: Tensor) -> dict[str, Tensor]:
        """Record columns of a view as they stand in a view `zoom` [B] times as large."""
        return dict(compact)
