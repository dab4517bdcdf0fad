"""A trial: a chain of segments, each from one rung to the next, between which nothing lives but snapshots.

So a trial that is paused, moved, cloned or killed goes on exactly where it stood, in whatever process.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

from jointdistill.engine.branch import find, pin, refuse_unfit
from jointdistill.engine.claims import Claims, Hold, Superseded
from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch.settle import inscribe, result
from jointdistill.launch.stop import StopSign
from jointdistill.launch.train import train
from jointdistill.launch.work import Message, Note, Outcome, Work
from jointdistill.search.answers import Answer, Answers
from jointdistill.search.names import clone, trial_of
from jointdistill.search.objective import values
from jointdistill.search.plan import Plan, Standing
from jointdistill.search.postbox import Post
from jointdistill.search.posts import Begun, Paused, Posted, Said
from jointdistill.search.space import Point
from jointdistill.store.base import Store
from jointdistill.types import Diverged, Refusal, StepReport, Stopped

KEPT = 2
"""Rungs at which a trial's snapshots stay pinned: whoever clones it begins before it is here again."""


def on_workers(work: Work, receive: Callable[[Message], None], sign: StopSign) -> Outcome | None:
    """A segment for real: in this process, or on Ray Train workers where there are several."""
    try:
        return train(work, receive, sign)
    except Stopped:
        return None


class Trial:
    """What is run, paused, moved and cloned; a process has one after the other."""

    def __init__(self, plan: Plan, post: Post) -> None:
        self._plan, self._post = plan, post
        self._answers = Answers(plan.store, plan.sweep)

    def become(self, name: str, config: Mapping[str, Any]) -> None:
        """Be a trial at its beginning; `go_on` says where else it stands."""
        self._name = name
        self._point: Point = {knob: config[knob] for knob in self._plan.space}
        self._place = Standing(name)
        self._settled = self._plan.settle(self._point, self._place)

    def step(self) -> dict[str, Any]:
        """Go on to the next rung, and tell of it what Tune is to know."""
        place, plan = self._place, self._plan
        target = next(rung for rung in plan.rungs if rung > place.step)
        if place.origin:  # before its answers are read: a clone of the same name may have been another one
            self._answers.begin(place.run, self._point, place.origin)
        self._post(Begun(place.run, self._settled.subject))
        answer = self._answers.get(place.run, target)
        if answer is None:
            answer = self._train(target)
        later = [rung for rung in plan.rungs if rung > target]
        # Told again where it was known: an earlier driver may have died before it wrote it down.
        outcome = None if later else result(plan.store, place.run)
        self._post(Paused(place.run, target, answer, outcome))
        if not answer.failure:
            self._place = replace(place, step=target)
        found = values(self._settled.work.tasks, answer.scores, plan.reference)
        return {
            **found,  # where Tune's schedulers look
            "values": found,
            "step": target,
            "run": place.run,
            "gpu_hours": answer.gpu_hours,
            "failure": answer.failure,
            "done": not later or bool(answer.failure),
            # It went on from here when the sweep ran before.
            "went_on": bool(later) and self._answers.get(place.run, later[0]) is not None,
        }

    def keep(self) -> Standing:
        """Where it stands; somebody may go on from there, so the snapshot is kept."""
        place = self._place
        self._pin(place.run, place.step, "pin")
        earlier = [rung for rung in self._plan.rungs if rung < place.step]
        if len(earlier) >= KEPT:
            # Asked of the storage: another process may have pinned it.
            self._pin(self._answers.run_at(self._name, earlier[-KEPT]), earlier[-KEPT], "unpin")
        return place

    def _pin(self, run: str, step: int, how: Literal["pin", "unpin"]) -> None:
        """Where the snapshot is not kept any more, a clone that needs it will say so."""
        with suppress(Refusal):
            snapshots, manifest = find(self._plan.store, f"{run}@{step}")
            (snapshots.pin if how == "pin" else snapshots.unpin)(manifest, self._plan.sweep)

    def go_on(self, there: Standing) -> None:
        """Stand where this trial stood; or, a clone, go on from where another one stands."""
        if trial_of(there.run) != self._name:
            origin = f"{there.run}@{find(self._plan.store, f'{there.run}@{there.step}')[1].name}"
            there = Standing(clone(self._name, there.step), there.step, origin)
        self._place = there
        self._settled = self._plan.settle(self._point, there)

    def _train(self, target: int) -> Answer:
        """Compute the segment up to a rung."""
        settled, store = self._settled, self._plan.store
        work = replace(settled.work, until=0 if target == self._plan.rungs[-1] else target)
        heard = Heard(self._post, work.run)
        began = time.monotonic()
        inscribe(store, settled)
        if origin := settled.subject.origin:
            refuse_unfit(store, origin, work.experiment)
            pin(store, origin, work.run)
        outcome, failure, final = None, "", True
        with Hold(Claims(store, work.run), work.owner, heard.say), self._post.listening() as sign:
            try:
                outcome = self._plan.segment(work, heard, sign)
            except Superseded:
                raise  # another process has this trial now, and answers for it
            except Refusal as refused:
                # It would be refused again at once; what is no fault of the point may be mended by next time.
                failure, final = str(refused), isinstance(refused, Diverged)
        took = time.monotonic() - began
        if sign.asked.is_set() and not failure and _kept(store, work.run) < target:
            self._answers.spend(work.run, target, took)
            self._post.await_end(work.run)
        took += self._answers.spent(work.run, target)
        if outcome:
            scores: Mapping[str, float] = outcome.row
        else:
            scores = {} if failure else heard.scores or _scores(store, work.run, target)
        answer = Answer(
            scores={name: score for name, score in scores.items() if math.isfinite(score)},
            seconds=took,
            gpu_hours=took * self._plan.gpus / 3600,
            teacher_s=heard.teacher_s * max(1, work.launch.workers),
            failure=failure,
        )
        if final:
            self._answers.put(work.run, target, answer)
        return answer


class Heard:
    """Passes on what a run says, and remembers of it what its trial must know."""

    def __init__(self, post: Callable[[Posted], object], run: str) -> None:
        self._post, self._run = post, run
        self.scores: dict[str, float] = {}
        self.teacher_s = 0.0

    def __call__(self, message: Message) -> None:
        """Take a message."""
        if isinstance(message, StepReport):
            said = message.metrics
            self.teacher_s += said.get("teacher_s", 0.0)
            found = {name.removeprefix("val/"): score for name, score in said.items() if name[:4] == "val/"}
            self.scores = found or self.scores
        self._post(Said(self._run, message))

    def say(self, sentence: str) -> None:
        """Pass on a sentence."""
        self(Note(sentence))


def _kept(store: Store, run: str) -> int:
    """The step of the newest snapshot."""
    return max((manifest.step for manifest in Snapshots(store, run).manifests()), default=0)


def _scores(store: Store, run: str, step: int) -> dict[str, float]:
    """The scores after a step that was made before its trial was killed."""
    told = [report for report in Snapshots(store, run).reports(until=step) if report.step == step]
    return {
        name.removeprefix("val/"): score
        for report in told
        for name, score in report.metrics.items()
        if name.startswith("val/")
    }
