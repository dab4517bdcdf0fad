"""One worker's life: from its parts to a trained student."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import torch

from jointdistill.data.loader import Loader
from jointdistill.engine.anchors import Anchors
from jointdistill.engine.claims import Claim, Claims, Owner, Superseded
from jointdistill.engine.evaluate import Scores
from jointdistill.engine.examine import Examiner, Report
from jointdistill.engine.lineage import package_digest
from jointdistill.engine.parts import Parts
from jointdistill.engine.resume import restore, take
from jointdistill.engine.snapshot import Manifest, Snapshot
from jointdistill.engine.step import train_step
from jointdistill.engine.window import STEPS, Window
from jointdistill.engine.writer import Writer
from jointdistill.experiment import Launch
from jointdistill.store.base import AlreadyThere
from jointdistill.types import JSON, Refusal, Step, StepReport, Stopped

SHOWN = 8
"""Images that a sentence names."""
WARNED_EVERY_S = 5.0
"""How often the ranks ask together whether a machine is about to be taken from them."""


def _nothing() -> bool:
    return False


@dataclass(frozen=True)
class Outside:
    """What a worker asks of the world; the launch provides it."""

    report: Callable[[StepReport], None]
    """Take an interval's plain numbers. Called on the first rank only, and must not block."""
    note: Callable[[str], None]
    """Take a sentence for whoever watches; like `report`."""
    writer: Writer
    anchors: Anchors
    owner: Owner
    """The driver that has claimed the run."""
    asked_to_stop: Callable[[], bool] = _nothing
    """Whether somebody asked the run to stop. Called on every rank alone, often, and must not block."""
    to_be_preempted: Callable[[], bool] = _nothing
    """Whether a machine will be taken away. Called on all ranks together, every few seconds."""
    alive: Callable[[int], object] = lambda step: None
    """Hears of every step that is done."""


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
        self._unkept: list[StepReport] = []
        self._losses: dict[str, float] = {}
        self._asked, self._warned = time.perf_counter(), False
        self._since = time.perf_counter()
        self._reported = 0

    def run(self, teachers: dict[str, Report]) -> Scores:
        """Train from where the parts stand to the last step: the validation scores of the student."""
        if self.parts.step == 0:
            self._listen(teachers)
        self._since, self._reported = time.perf_counter(), self.parts.step
        device = self.parts.ranks.device
        for batch in self.loader.stream(self.parts.step, self.steps, pin=device.type == "cuda"):
            step = train_step(batch.to(device), self.parts)
            self.window.add(step)
            self._recent.append(step)
            self._after(self.parts.step, teachers)
            self.outside.alive(self.parts.step)
            self._heed(self.parts.step)
        return self.examiner.validation_scores()

    def resume(self) -> bool:
        """Claim the run, and go on from its newest snapshot if there is one.

        Raises `Superseded` where the run has another owner by now.
        """
        snapshots, ranks = self.outside.writer.snapshots, self.parts.ranks
        claim, found = self._claimed() if ranks.first else (None, None)
        name = found.manifest.name if found else None
        _, said = ranks.told_by_first(lambda: ({}, {"claim": claim.number if claim else 0, "from": name}))
        self.outside.writer.claim = claim or Claim(cast(int, said["claim"]), self.outside.owner)
        if said["from"] is None:
            return False
        snapshot = found or snapshots.read(snapshots.manifest(cast(str, said["from"])))
        if ranks.first and snapshot.manifest.about.get("package") != package_digest():
            self.outside.note(
                "The code changed since the snapshot was written; it goes on with the new code."
            )
        restore(self.parts, snapshot)
        self.window.load(snapshot.parts["window"])
        self._losses = dict(snapshot.manifest.losses)
        return True

    def _claimed(self) -> tuple[Claim, Snapshot | None]:
        """The claim of this group of workers, and what it goes on from."""
        snapshots, owner = self.outside.writer.snapshots, self.outside.owner
        claims = Claims(snapshots.store, snapshots.run)
        while True:
            newest = claims.newest()
            if newest and newest.owner != owner:
                raise Superseded(f"The run '{snapshots.run}' is being trained by {newest.owner} now.")
            found = snapshots.latest()
            with suppress(AlreadyThere):  # other workers of this owner were faster: look again
                return claims.make(owner, newest, found.step if found else 0), found

    def _after(self, step: int, teachers: dict[str, Report]) -> None:
        """What is due after a step, in this order."""
        last = step == self.steps
        if step % STEPS == 0 or last:
            self.parts.stats = self.window.reduce(step)
            self.parts.weighting.after_step(self.parts.stats)
        if step % self.loader.steps_per_epoch == 0:
            for source in self.parts.trajectory:
                source.merge(self.parts.ranks.gather)
            self._listen(teachers)
        if _crossed(step, self.launch.report_every) or last:
            self._report(step)
        if step in self._anchors:
            self.outside.anchors.keep(step)
        if self.launch.evaluate_every and step % self.launch.evaluate_every == 0 and not last:
            self._send(step, _keys("val", self.examiner.validation_scores()))
        if step % self.launch.snapshot_every == 0 or last:
            self._snapshot(wait=last)

    def _listen(self, teachers: dict[str, Report]) -> None:
        """Tell weighting and trajectory how the student does on the feedback slice."""
        if not any(len(rows) for rows in self.examiner.slices.feedback.values()):
            return
        feedback = self.examiner.feedback(teachers)
        self._losses = dict(feedback.student)
        self.parts.weighting.observe(feedback)
        for source in self.parts.trajectory:
            source.observe(feedback)
        self._send(
            feedback.step, {f"feedback/student/{task}": loss for task, loss in feedback.student.items()}
        )

    def _report(self, step: int) -> None:
        recent, self._recent = self._recent, []
        metrics = self.window.report() | self.parts.weighting.log()
        if metrics["unsound_images"]:  # the same on every rank
            self._name_unsound(step, recent)
        self._refuse_divergence(recent)
        for source in self.parts.trajectory:
            metrics |= source.log()
        now = time.perf_counter()
        images = self.parts.experiment.sampling.batch * (step - self._reported)
        metrics |= {
            "images_per_s": images / (now - self._since),
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
            self.outside.note(
                f"Up to step {step} a loss, or a teacher's answer, was not finite on some images and was "
                f"left out there: {_some(keys)}."
            )

    def _refuse_divergence(self, recent: list[Step]) -> None:
        """Steps with a non-finite gradient were left out; a whole interval of them ends the run."""
        if recent and not any(bool(step.finite) for step in recent):
            unsound = _unsound(recent)
            named = f" (images {_some(unsound)})" if unsound else ""
            raise Refusal(
                f"No gradient was finite in the {len(recent)} steps before step {self.parts.step}{named}: "
                "lower --optimise.learning-rate, or look at these images and their teachers' answers."
            )

    def _snapshot(self, wait: bool) -> None:
        """Hand a snapshot over to be written. Where the last one is still on its way, this one is left out,
        unless it must not be."""
        writer, ranks = self.outside.writer, self.parts.ranks
        with writer.blocking():
            if wait:
                writer.wait()
            if self._anywhere(writer.busy):
                self._say(
                    f"The snapshot of step {self.parts.step} is left out: the storage has not taken the last "
                    "one yet."
                )
                return
            for source in self.parts.trajectory:
                source.pool(ranks.gather)
            shard = take(self.parts)
            shard.add("window", self.window.state(), ranks.first)
            self._tell()
            self._unkept = [report for report in self._unkept if report.step > writer.published]
            sharers = range(ranks.world) if self._anywhere(bool(shard.chunks)) else (0,)
            writer.submit(shard, self._manifest(), self._unkept, sharers)

    def _manifest(self) -> Manifest:
        writer, ranks, step = self.outside.writer, self.parts.ranks, self.parts.step
        assert writer.claim is not None
        position = dict(self.loader.position(step)._asdict())
        about: dict[str, JSON] = {**writer.about, "world": ranks.world, "position": position}
        return Manifest(step, writer.claim.number, about, self._losses)

    def _heed(self, step: int) -> None:
        """Hear whether the run is asked to stop, or a machine is about to go: then what is known is kept.

        Ranks must stop after the same step, so they agree on it as often as they talk anyway.
        """
        ranks = self.parts.ranks
        if (ranks.world > 1 and step % STEPS) or step == self.steps:
            return
        if self._anywhere(self.outside.asked_to_stop()):
            self._snapshot(wait=True)
            self.outside.writer.wait()
            self._tell()
            raise Stopped(f"after step {step}, with a snapshot")
        due = ranks.first and time.perf_counter() - self._asked > WARNED_EVERY_S
        if not self._anywhere(due):
            return
        self._asked = time.perf_counter()
        warned = self.outside.to_be_preempted()
        if warned and not self._warned:
            self._say(f"A machine will be taken away: keeping a snapshot of step {step}.")
            self._snapshot(wait=True)
        self._warned = warned

    def _anywhere(self, here: bool) -> bool:
        """Whether it is so on any rank; every rank must ask."""
        if self.parts.ranks.world == 1:
            return here
        return bool(self.parts.ranks.sum(torch.tensor(float(here), device=self.parts.ranks.device)))

    def _tell(self) -> None:
        for sentence in self.outside.writer.told():
            self.outside.note(sentence)

    def _say(self, sentence: str) -> None:
        if self.parts.ranks.first:
            self.outside.note(sentence)

    def _send(self, step: int, metrics: dict[str, float]) -> None:
        if self.parts.ranks.first:
            report = StepReport(step, self.loader.position(step).epoch, metrics)
            self._unkept.append(report)
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
