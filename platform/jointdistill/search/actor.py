"""The process of a trial as Tune sees it: begun, stepped, paused, cloned, and used again for another one.

It begins with next to no import, so that the trial's own come in the way that costs least (`warm`).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pyarrow.fs
import ray
from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint, Trainable

from jointdistill.launch.warm import warm
from jointdistill.search.postbox import Post


class TrialActor(Trainable):  # type: ignore[misc]  # ray is read untyped
    """Hands on to a `Trial` what Tune wants of it."""

    def setup(self, config: dict[str, Any], plan: list[Any], post: Post) -> None:
        """See `Trainable`. The plan comes by reference, in a list, lest Ray import all that is in it."""
        warm("jointdistill.search.trial")
        from jointdistill.search.trial import Trial

        self._trial = Trial(ray.get(plan[0]), post)
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Be another trial, or the same one with other knobs; `restore` says where it stands."""
        self._trial.become(self.trial_name, new_config)
        return True

    def step(self) -> dict[str, Any]:
        """See `Trainable`."""
        return self._trial.step()

    def save(self, checkpoint_dir: str | None = None) -> _TrainingResult:
        """See `Trainable`. A snapshot is no file of Tune's: the checkpoint's path exists nowhere."""
        there = Checkpoint(json.dumps(asdict(self._trial.keep())), filesystem=pyarrow.fs.LocalFileSystem())
        return _TrainingResult(there, dict(self._last_result or {}))

    def restore(self, checkpoint_path: _TrainingResult) -> None:
        """See `Trainable`."""
        from jointdistill.search.plan import Standing

        self._trial.go_on(Standing(**json.loads(checkpoint_path.checkpoint.path)))
