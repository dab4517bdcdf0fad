"""Trials that train nothing: their scores are a formula of their knobs, all else is real."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from jointdistill.engine.claims import Claims
from jointdistill.engine.shard import Shard
from jointdistill.engine.snapshot import Manifest, Snapshots
from jointdistill.launch.stop import StopSign
from jointdistill.launch.work import Message, Outcome, Work
from jointdistill.search.plan import Segment
from jointdistill.search.space import LogUniform, Uniform
from jointdistill.search.sweep import Sweep
from jointdistill.store.objects import open_store
from jointdistill.types import Diverged, StepReport
from tests.engine import small

REFERENCE = {"depth/abs_rel": 0.5, "segmentation/miou": 0.3}


def sweep(folder: Path, name: str, **knobs: object) -> Sweep:
    """Of gain and temperature, for 40 steps."""
    base = small.experiment(folder)
    base = replace(base, optimise=replace(base.optimise, steps=40))
    space = {"weighting.gain": LogUniform(0.25, 4.0), "weighting.temperature": Uniform(0.5, 2.0)}
    return Sweep(name, base, space, reference=REFERENCE, **knobs)  # type: ignore[arg-type]


def scores(knobs: Mapping[str, float], step: int) -> dict[str, float]:
    """Best at gain 1 and temperature 1; better with every step."""
    lost = abs(math.log(knobs["gain"])) + abs(knobs["temperature"] - 1)
    return {
        "segmentation/miou": 0.6 - 0.1 * lost - 1 / (step + 5),
        "depth/abs_rel": 0.2 + 0.02 * lost + 1 / step,
    }


def segment(failing: str = "") -> Segment:
    """A segment that keeps a snapshot and reports; a closure, so that it travels to Ray by value.

    The run of the name `failing` diverges in its second segment.
    """

    def pretend(work: Work, receive: Callable[[Message], None], sign: StopSign) -> Outcome | None:
        store = open_store(work.storage)
        last = work.experiment.optimise.steps
        step = work.until or last
        knobs = vars(work.experiment.weighting)
        if work.run == failing and step > 10:
            raise Diverged("No gradient was finite.")
        snapshots = Snapshots(store, work.run, str(work.about["identity"]))
        base = max((manifest.step for manifest in snapshots.manifests()), default=0)
        claim = Claims(store, work.run).make(work.owner, Claims(store, work.run).newest(), base)
        found = scores(knobs, step)
        reports = [StepReport(each, 0, {"loss/labels/depth": 1 / each}) for each in range(10, step + 1, 10)]
        reports += [StepReport(step, 0, {f"val/{name}": value for name, value in found.items()})]
        for report in reports:
            receive(report)
        manifest = Manifest(step, claim.number, work.about, {})
        snapshots.put_reports(manifest.name, reports)
        snapshots.put_shard(manifest.name, 0, Shard())
        snapshots.put_manifest(manifest)
        if step < last:
            return None
        outcome = Outcome(scores=found, parameters=7, images_per_s=1.0, digest="none")
        store.put(f"runs/{work.run}/result.json", json.dumps(outcome.plain()).encode())
        return outcome

    return pretend
