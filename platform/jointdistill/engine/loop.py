"""One worker's life: from its parts to a trained student."""

from __future__ import annotations

import math
import time
from typing import NoReturn, cast

from jointdistill.data.loader import Loader
from jointdistill.engine.evaluate import Report, Scores
from jointdistill.engine.examine import Examiner
from jointdistill.engine.keeper import Keeper, Outside
from jointdistill.engine.parts import Parts
from jointdistill.engine.step import train_step
from jointdistill.engine.window import STEPS, Window
from jointdistill.place import Launch
from jointdistill.types import JSON, Diverged, Step, StepReport

SHOWN = 8
"""Images that a sentence names."""


class Loop:
    """Trains. What it does between two steps is due by the step's number and by nothing else, so that a
    resumed run does the same as one that was never interrupted."""

    def __init__(
        self, parts: Parts, loader: Loader, examiner: Examiner, launch: Launch, outside: Outside
    ) -> None:
        self.parts, self.loader, self.examiner = parts, loader, examiner
        self.launch, self.outside = launch, outside
        self.window = Window(parts.objective.terms, parts.ranks)
        self.steps = parts.experiment.optimise.steps
        self._anchors = anchor_steps(self.steps, parts.experiment.anchors)
        self._recent: list[Step] = []
        self.keeper = Keeper(parts, loader, self.window, outside)
        self.teachers: dict[str, Report] = {}
        """How they do on the feedback slice; see `Examiner.teachers`."""
        self.heard = False
        """Whether weighting and trajectory know how the student does."""
        self._since = time.perf_counter()
        self._reported = 0

    def run(self) -> Scores:
        """Train from where the parts stand to the last step: the validation scores of the student."""
        if not self.heard:
            self._listen()
        self._since, self._reported = time.perf_counter(), self.parts.step
        device = self.parts.ranks.device
        for batch in self.loader.stream(self.parts.step, self.steps, pin=device.type == "cuda"):
            step = train_step(batch.to(device), self.parts)
            self.window.add(step)
            self._recent.append(step)
            self._after(self.parts.step)
            self.outside.ears.alive(self.parts.step)
            self.keeper.heed(self.parts.step)
        return self.examiner.validation_scores()

    def resume(self) -> bool:
        """Go on from the run's newest snapshot, if there is one; see `Keeper.resume`."""
        self.heard = self.keeper.resume()
        return self.heard

    def _after(self, step: int) -> None:
        """What is due after a step, in this order."""
        last = step == self.steps
        if step % STEPS == 0 or last:
            self.parts.stats = self.window.reduce(step)
            self.parts.weighting.after_step(self.parts.stats)
        if step % self.loader.steps_per_epoch == 0:
            for source in self.parts.trajectory:
                source.merge(self.parts.ranks.gather)
            self._listen()
        if _crossed(step, self.launch.report_every) or last:
            self._report(step)
        if step in self._anchors:
            self.outside.anchors.keep(step)
        at_rung, due = step == self.outside.until, self.launch.evaluate_every
        if (at_rung or (due and step % due == 0)) and not last:
            scores = _keys("val", self.examiner.validation_scores())
            self._send(step, scores | ({"teacher_s": self.parts.asking.read()} if at_rung else {}))
        if step % self.launch.snapshot_every == 0 or last:
            self.keeper.snapshot(wait=last)

    def _listen(self) -> None:
        """Tell weighting and trajectory how the student does on the feedback slice."""
        if not any(len(rows) for rows in self.examiner.slices.feedback.values()):
            return
        feedback = self.examiner.feedback(self.teachers)
        self.keeper.losses = {task: loss for task, loss in feedback.student.items() if math.isfinite(loss)}
        self.parts.weighting.observe(feedback)
        for source in self.parts.trajectory:
            source.observe(feedback)
        self._send(
            feedback.step, {f"feedback/student/{task}": loss for task, loss in feedback.student.items()}
        )

    def _report(self, step: int) -> None:
        recent, self._recent = self._recent, []
        steps = len(self.window)
        metrics = self.window.report() | self.parts.weighting.log()
        if metrics["unsound_images"]:  # the same on every rank
            self._name_unsound(step, recent)
        if metrics["finite_steps"] == 0 and steps >= min(STEPS, self.steps):
            self._refuse_divergence(steps, recent)
        for source in self.parts.trajectory:
            metrics |= source.log()
        now = time.perf_counter()
        images = self.parts.experiment.sampling.batch * (step - self._reported)
        metrics |= {
            "images_per_s": images / (now - self._since),
            "teacher_s": self.parts.asking.read(),
            "learning_rate": recent[-1].learning_rate,
        }
        self._since, self._reported = now, step
        self._send(step, metrics)

    def _name_unsound(self, step: int, recent: list[Step]) -> None:
        """Tell the images, of all ranks, that had a loss or a teacher's answer that was not finite."""
        mine: list[JSON] = [*_unsound(recent)]
        everybody = self.parts.ranks.gather(({}, {"keys": mine}))
        if self.parts.ranks.first:
            keys = sorted({key for _, said in everybody for key in cast("list[str]", said["keys"])})
            named = f": {_some(keys)}" if keys else ""  # none of those that came before the run went on
            self.outside.note(
                f"Up to step {step} a loss, or a teacher's answer, was not finite on some images and was "
                f"left out there{named}."
            )

    def _refuse_divergence(self, steps: int, recent: list[Step]) -> NoReturn:
        """Steps with a non-finite gradient were left out; a whole interval of them ends the run."""
        unsound = _unsound(recent)
        named = f" (images {_some(unsound)})" if unsound else ""
        raise Diverged(
            f"No gradient was finite in the {steps} steps before step {self.parts.step}{named}: "
            "lower --optimise.learning-rate, or look at these images and their teachers' answers."
        )

    def _send(self, step: int, metrics: dict[str, float]) -> None:
        if self.parts.ranks.first:
            report = StepReport(step, self.loader.position(step).epoch, metrics)
            self.keeper.reported(report)
            self.outside.report(report)


def anchor_steps(steps: int, anchors: int) -> frozenset[int]:
    """Where a run keeps anchors: at its end, at half of it, at half of that …, since most is learnt early."""
    return frozenset(max(1, round(steps / 2**halvings)) for halvings in range(anchors))


def _unsound(steps: list[Step]) -> list[str]:
    """The images of this rank whose numbers were not finite."""
    return sorted(
        {key for step in steps for key, ok in zip(step.keys, step.sound.tolist(), strict=True) if not ok}
    )


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (" …" if len(keys) > SHOWN else "")


def _crossed(step: int, every: int) -> bool:
    """Whether a multiple of `every` lies in the reduction window that ends at this step."""
    return step % STEPS == 0 and step // every > (step - STEPS) // every


def _keys(prefix: str, scores: Scores) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in scores.items()}
