"""What a run is a run of: parameters, tags and data set of its record."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, Param

from jointdistill.engine.lineage import commit, package_digest
from jointdistill.experiment import Experiment
from jointdistill.recipe import flatten

IDENTITY = "jointdistill.identity"
PACKAGE = "jointdistill.package"
_LONGEST_PARAM = 500


@dataclass(frozen=True)
class Subject:
    """What a run is a run of."""

    experiment: Experiment
    data: str
    """Fingerprint of the data set."""
    teachers: Mapping[str, str]
    """Teacher → digest."""
    data_set: str = ""
    """What the data set calls itself."""
    from_run: str = ""
    """MLflow's id of the run whose snapshot it goes on from."""

    @property
    def identity(self) -> str:
        """See `Experiment.identity`."""
        return self.experiment.identity(self.data, self.teachers)

    def params(self) -> list[Param]:
        """The experiment's leaves. Nothing else is recorded of how it was started: no flag, no variable of
        the environment, so no secret."""
        leaves = flatten(self.experiment.describe())
        return [Param(name, str(value)[:_LONGEST_PARAM]) for name, value in leaves.items()]

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
        if not self.experiment.origin:
            return {}
        return {"jointdistill.from": self.experiment.origin, "jointdistill.from_run": self.from_run}

    def dataset(self) -> DatasetInput:
        """The data set, as MLflow's pages list it."""
        source = json.dumps({"name": self.data_set})
        return DatasetInput(Dataset(self.data_set or "unnamed", self.data[:12], "jointdistill", source))
