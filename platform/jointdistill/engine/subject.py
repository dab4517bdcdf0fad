"""What a run is a run of: parameters, tags and data set of its record."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from jointdistill.engine.lineage import commit, package_digest
from jointdistill.recipe import flatten
from jointdistill.types import JSON

if TYPE_CHECKING:
    from jointdistill.experiment import Experiment

IDENTITY = "jointdistill.identity"
PACKAGE = "jointdistill.package"
_LONGEST_PARAM = 500


@dataclass(frozen=True)
class Subject:
    """What a run is a run of."""

    described: Mapping[str, JSON]
    """All that it is made of, as plain JSON; its leaves are the record's parameters."""
    identity: str
    data: str
    """Fingerprint of the data set."""
    teachers: Mapping[str, str]
    """Teacher → digest."""
    data_set: str = ""
    """What the data set calls itself."""
    origin: str = ""
    """RUN@STEP of the snapshot that it goes on from."""
    from_run: str = ""
    """MLflow's id of the run whose snapshot that is."""
    parent: str = ""
    """MLflow's id of the sweep that it is a trial of."""

    @classmethod
    def of(cls, experiment: Experiment, data: str, teachers: Mapping[str, str], data_set: str = "") -> Self:
        """The subject of an experiment's run."""
        identity = experiment.identity(data, teachers)
        return cls(experiment.describe(), identity, data, teachers, data_set, experiment.origin)

    def params(self) -> dict[str, str]:
        """The leaves of what it is made of. Nothing else is recorded of how it was started: no flag, no
        variable of the environment, so no secret."""
        leaves = flatten(dict(self.described))
        return {name: str(value)[:_LONGEST_PARAM] for name, value in leaves.items()}

    def tags(self) -> dict[str, str]:
        """Where the run came from."""
        teachers = {f"jointdistill.teacher.{name}": digest for name, digest in self.teachers.items()}
        known = {"mlflow.source.git.commit": commit()} if commit() else {}
        return {
            IDENTITY: self.identity,
            "jointdistill.data": self.data,
            PACKAGE: package_digest(),
            "mlflow.source.name": Path(sys.argv[0]).name,
            "mlflow.source.type": "LOCAL",
            **teachers,
            **known,
            **self._lineage,
        }

    @property
    def _lineage(self) -> dict[str, str]:
        nested = {"mlflow.parentRunId": self.parent} if self.parent else {}
        if not self.origin:
            return nested
        return nested | {"jointdistill.from": self.origin, "jointdistill.from_run": self.from_run}
