"""Publishing a trained network: a version in MLflow's registry, and the alias `champion` where it is due."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from jointdistill.engine.tracked_run import TrackedRun
from jointdistill.nets.saved import DESCRIPTION, Model, read_description
from jointdistill.store.base import Missing
from jointdistill.store.registry import AWAY, in_words, model_files
from jointdistill.student.champion import ALIAS, Verdict, judge
from jointdistill.student.export import export

DIGEST = "jointdistill.digest"
VERDICT = "jointdistill.verdict"


class Published(NamedTuple):
    """Where a model now stands in the registry."""

    name: str
    version: str
    verdict: Verdict


def publish(run: TrackedRun, name: str, files: Mapping[str, bytes]) -> Published:
    """Register a saved model (`nets.saved.save`, and its way) as the next version of `name`.

    A run that published it before finds its version again, with the verdict it then got. Raises `Refusal`
    where MLflow does not answer; the model is safe in the storage, and the same run, started again, publishes
    it.
    """
    model = read_description(files[DESCRIPTION], name)
    client = run.client
    try:
        version = _published(client, name, run.run_id, model)
        if version and VERDICT in version.tags:
            bearer = client.get_registered_model(name).aliases.get(ALIAS)
            verdict = Verdict(str(bearer) == str(version.version), version.tags[VERDICT])
            return Published(name, str(version.version), verdict)
        version = version or _register(run, name, model, files)
        verdict = judge(model, champion(name, client.tracking_uri))
        if verdict.champion:
            client.set_registered_model_alias(name, ALIAS, version.version)
        client.set_model_version_tag(name, version.version, VERDICT, verdict.reason)
    except AWAY as wrong:
        raise in_words(wrong, client.tracking_uri) from None
    return Published(name, str(version.version), verdict)


def champion(name: str, tracking: str) -> Model | None:
    """What the champion says of itself; none where no version is champion."""
    try:
        files = model_files(f"models:/{name}@{ALIAS}", tracking, only=DESCRIPTION)
    except Missing:
        return None
    return read_description(files[DESCRIPTION], name)


def _published(client: MlflowClient, name: str, run_id: str, model: Model) -> ModelVersion | None:
    found = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return next((version for version in found if version.tags.get(DIGEST) == model.digest), None)


def _register(run: TrackedRun, name: str, model: Model, files: Mapping[str, bytes]) -> ModelVersion:
    client = run.client
    experiment = client.get_run(run.run_id).info.experiment_id
    logged = client.create_logged_model(experiment, name, run.run_id)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / name
        export(model, files, folder)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    try:
        client.create_registered_model(name)
    except MlflowException as wrong:
        if wrong.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {DIGEST: model.digest, "jointdistill.data": model.data}
    # Its location, not models:/ID: a database resolves that by the address in the environment.
    return client.create_model_version(
        name, logged.artifact_location, run.run_id, tags, model_id=logged.model_id
    )
