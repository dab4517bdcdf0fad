"""Self-adaptive weights: as much from each teacher as the student's present ability asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, final

import torch
from torch import Tensor

from jointdistill.types import Feedback, Losses, Refusal, State, Stats, Term, Weighted
from jointdistill.weighting.base import Need, Weighting, WeightingRecipe
from jointdistill.weighting.factors import Factors
from jointdistill.weighting.pairs import Pairs
from jointdistill.weighting.scale import RunningMean, Scale

FEEDBACK_KEEP = 0.5
"""What the gap's running mean keeps an evaluation: evaluations are rare, so it must forget fast."""

CLIP = 2.0
"""A task's input counts at most this far from the mean over tasks: a factor of 7.4 in the losses."""

LEAST_GATE = 0.05
"""A teacher that has been passed is still heard a little, in case the student falls back."""


@dataclass(frozen=True)
class Competence(WeightingRecipe):
    """Weights follow measured ability, on two levels: tasks, then the teachers of a task.

    After JointDistill (2505.10057), whose weights follow validation feedback; docs/weighting.md has the
    formulas, docs/decisions.md says why they are not the paper's. For task i and its teacher k:

        e  competence gap     log of the student's loss over its best teacher's, on the feedback slice
        r  imitation gap      log of the distillation loss over its beginning (GradNorm, 1711.02257)
        q  progress           slope of the log distillation loss (DWA, 1803.10704)
        c  reliability        minus log of the teacher's loss on the feedback slice (CA-MKD, 2201.00007)

        u_i  = N · [(1 - floor) softmax_i((±(gap·e + imitation·r) + progress·q) / temperature) + floor / N]
        v_ik = (1 - floor) softmax_k(reliability·c) + floor / teachers of i
        w_ik = u_i · v_ik                                       they sum to the number of tasks
        m_i  = clip(sigmoid(e_i / gate_temperature), 0.05, 1)   less once the teachers are passed
        L    = Σ_i G_i + gain · Σ_ik m_i · w_ik · mean over the pair's losses of D / n

    A coefficient of 0 switches its input off. What has not been measured steers nothing: without labels
    e and c are undefined, m is 1 and r alone decides.
    """

    direction: Literal["catch-up", "ability-following"] = "catch-up"
    """catch-up: more from teachers the student is far behind. ability-following: more from those it
    already follows. The paper can be read either way."""
    gap: float = 1.0
    """How much e counts."""
    imitation: float = 0.5
    """How much r counts."""
    progress: float = 0.0
    """How much q counts."""
    reliability: float = 1.0
    """How much c counts."""
    gate: bool = True
    """Whether m falls as the student passes its teachers; otherwise it is 1."""
    standardise: bool = True
    """Whether losses are divided by their running size n; otherwise n is 1."""
    gain: float = 1.0
    """How much distillation against labels; λ in the formulas."""
    temperature: float = 1.0
    """Higher: weights closer to uniform."""
    gate_temperature: float = 0.25
    """Width of the gate in e: at -0.25 (the student's loss is 78 % of its teacher's) m is 0.27."""
    floor: float = 0.1
    """Share of the weight that is spread evenly, so that no teacher is ever starved."""
    warmup_steps: int = 100
    """Uniform weights so long, and over so many steps a loss's beginning is averaged."""

    def __post_init__(self) -> None:
        for knob in ("gap", "imitation", "progress", "reliability", "gain"):
            if not 0 <= getattr(self, knob) < math.inf:
                raise Refusal(
                    f"--weighting.{knob} {getattr(self, knob)} must be at least 0; 0 switches it off."
                )
        for knob in ("temperature", "gate_temperature"):
            if not 0 < getattr(self, knob) < math.inf:
                raise Refusal(
                    f"--weighting.{knob.replace('_', '-')} must be above 0, and is {getattr(self, knob)}."
                )
        if not 0 < self.floor <= 1:
            raise Refusal(f"--weighting.floor {self.floor} is no share: give a number above 0 and up to 1.")
        if self.warmup_steps < 1:
            raise Refusal(f"--weighting.warmup-steps {self.warmup_steps} is too short: give at least 1.")

    def build(self, terms: tuple[Term, ...]) -> CompetenceWeights:
        """The controller for these terms."""
        return CompetenceWeights(terms, self)


@final
class CompetenceWeights(Weighting):
    """The controller. All it decides follows from its state, so a resumed run decides the same."""

    def __init__(self, terms: tuple[Term, ...], knobs: Competence):
        self._knobs = knobs
        if knobs.gap or knobs.reliability or knobs.gate:
            self.needs = frozenset({Need.FEEDBACK})
        self._pairs = Pairs.of(terms)
        self._scale = Scale(len(terms), knobs.warmup_steps)
        self._gap = RunningMean(len(self._pairs.tasks), FEEDBACK_KEEP)  # e
        self._teachers = torch.full((len(self._pairs.names),), torch.nan, dtype=torch.float64)  # log G_ik
        self._step = 0
        self._labels = torch.ones(len(terms), dtype=torch.float64)
        self._factors = Factors(terms)
        self._decide()

    def weigh(self, losses: Losses, stats: Stats) -> Weighted:
        """[K, 1]; a standardised term waits at 0 until the first window has told its size."""
        return self._factors.weigh(losses)

    def observe(self, feedback: Feedback) -> None:
        """Measure gap and reliability. A loss that is missing, not finite or not above 0 changes nothing."""
        pairs = self._pairs
        teachers = _logs(feedback.teachers.get(name, {}).get(task) for name, task in pairs.names)
        self._teachers = torch.where(teachers.isfinite(), teachers, self._teachers)
        student = _logs(feedback.student.get(task) for task in pairs.tasks)
        self._gap.update(student - pairs.least_by_task(self._teachers))
        self._decide()

    def after_step(self, stats: Stats) -> None:
        """Follow the losses, and decide anew."""
        self._scale.update(stats.window)
        self._step = stats.step
        self._decide()

    def log(self) -> dict[str, float]:
        """The keys of docs/weighting.md; what has not been measured yet is left out."""
        names = [f"{teacher}/{task}" for teacher, task in self._pairs.names]
        tasks = self._pairs.tasks
        return (
            _named("weight", names, self._weights())
            | _named("reliability", names, self._reliability())
            | _named("imitation_gap", names, self._pairs.by_pair(self._scale.descent))
            | _named("gap", tasks, self._gap.value)
            | _named("gate", tasks, self._gates())
            | self._factors.log()
        )

    def state(self) -> State:
        """Running means, beginnings, the teachers' losses and the step."""
        measured = {"gap": self._gap.moments, "teachers": self._teachers}
        return self._scale.tensors() | measured, {"step": self._step}

    def load(self, state: State) -> None:
        """Go on from a state."""
        tensors, values = state
        self._scale.load(tensors)
        self._gap.moments = tensors["gap"]
        self._teachers = tensors["teachers"]
        self._step = cast("int", values["step"])
        self._decide()

    def _decide(self) -> None:
        """Make the factors: labels 1, and the pair's weight shared among its losses."""
        pairs = self._pairs
        amount = (
            self._knobs.gain * self._gates()[pairs.task_of] * self._weights() / pairs.terms_of_pair
        )  # [P]
        taught = amount[pairs.pair_of]  # [T]
        if self._knobs.standardise:
            taught = taught * self._scale.inverse[pairs.taught]
        self._factors.decide(self._labels.index_put((pairs.taught,), taught))  # [K]

    def _weights(self) -> Tensor:
        """[P] w; uniform during the warm-up."""
        knobs, pairs = self._knobs, self._pairs
        listening = float(self._step >= knobs.warmup_steps)
        tasks = (listening * self._task_scores() / knobs.temperature).softmax(0)  # [N]
        tasks = (1 - knobs.floor) * len(tasks) * tasks + knobs.floor
        teachers = pairs.softmax_by_task(listening * knobs.reliability * self._reliability().nan_to_num(0.0))
        teachers = (1 - knobs.floor) * teachers + knobs.floor / pairs.teachers_of_task[pairs.task_of]  # [P]
        return tasks[pairs.task_of] * teachers

    def _task_scores(self) -> Tensor:
        """[N] how much each task calls for its teachers; 0 is the mean, and who is unknown."""
        knobs, pairs = self._knobs, self._pairs
        behind = knobs.gap * _centred(self._gap.value)
        behind = behind + knobs.imitation * _centred(pairs.by_task(pairs.by_pair(self._scale.descent)))
        slope = _centred(pairs.by_task(pairs.by_pair(self._scale.slope)))
        return (behind if knobs.direction == "catch-up" else -behind) + knobs.progress * slope

    def _reliability(self) -> Tensor:
        """[P] c around the mean of the task's teachers; NaN for a teacher of unknown loss."""
        return self._pairs.by_task(self._teachers)[self._pairs.task_of] - self._teachers

    def _gates(self) -> Tensor:
        """[N] m; 1 where the gap is unknown."""
        gap = self._gap.value
        if not self._knobs.gate:
            return torch.ones_like(gap)
        return (gap / self._knobs.gate_temperature).sigmoid().clamp(LEAST_GATE, 1.0).nan_to_num(1.0)


def _centred(inputs: Tensor) -> Tensor:
    """Inputs [N] around their mean over tasks, clipped; 0 where unknown."""
    return (inputs - inputs.nanmean()).clamp(-CLIP, CLIP).nan_to_num(0.0)


def _logs(losses: Iterable[float | None]) -> Tensor:
    """Logs of losses; not finite where a loss is missing, 0 or less."""
    return torch.tensor([math.nan if loss is None else loss for loss in losses], dtype=torch.float64).log()


def _named(kind: str, names: Sequence[str], values: Tensor) -> dict[str, float]:
    """Metrics `kind/name`, without those unknown."""
    pairs = zip(names, values.tolist(), strict=True)
    return {f"{kind}/{name}": value for name, value in pairs if math.isfinite(value)}
