"""MLflow's model registry, read as files. Nothing that lies there is run, and nothing is unpickled."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from jointdistill.store.base import Missing
from jointdistill.types import Refusal

FOLDER = "model"
"""The folder among a registered model's artifacts that holds `model.json` and `weights.safetensors`."""

SQLITE = "sqlite:///"

_ADDRESS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")

_CALM = {
    # MLflow's own defaults retry for four minutes, in which a training could not go on.
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # It would print the server's address at the end of a run, with the password that may be in it.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


AWAY = (MlflowException, OSError)
"""What MLflow's client raises where the server, its database or its artifact store does not answer."""


def connect(tracking: str) -> MlflowClient:
    """A client of MLflow's server or database at `tracking`; the environment may override its patience.

    It knows its own addresses, so no active run and no variable in the environment can redirect it.
    """
    for variable, value in _CALM.items():
        os.environ.setdefault(variable, value)
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        # It tells of each table and file that it makes, across a user's progress bar.
        logging.getLogger("mlflow").setLevel(logging.WARNING)
    with _tables_made_by_one(tracking):
        return MlflowClient(tracking_uri=tracking, registry_uri=tracking)


@contextmanager
def _tables_made_by_one(tracking: str) -> Iterator[None]:
    """Jobs that start together on a new SQLite file would each make its tables, and all but one fail."""
    if not tracking.startswith(SQLITE):
        yield
        return
    database = Path(tracking.removeprefix(SQLITE))
    with database.with_name(f"{database.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed, by whatever ends this process
        yield


def model_files(address: str, tracking: str, only: str = "") -> dict[str, bytes]:
    """File name → content of a registered model, or of the one file `only`.

    `address` is `models:/NAME@ALIAS` or `models:/NAME/VERSION`. Raises `Missing` where there is no such
    model, `Refusal` where the address is none or MLflow does not answer.
    """
    parts = _ADDRESS.fullmatch(address)
    if parts is None:
        raise Refusal(f"'{address}' is no address of a model: write models:/NAME@champion or models:/NAME/3.")
    if tracking.startswith(SQLITE) and not Path(tracking.removeprefix(SQLITE)).exists():
        raise Missing(address)  # to ask would be to create it
    try:
        client = connect(tracking)
        # Asked of the client step by step: given models:/… MLflow's download would ask the address in the
        # environment.
        version = parts["version"] or client.get_model_version_by_alias(parts["name"], parts["alias"]).version
        place = client.get_model_version_download_uri(parts["name"], version)
        with TemporaryDirectory() as folder:
            source = f"{place}/artifacts/{FOLDER}/{only}".rstrip("/")
            got = Path(download_artifacts(source, dst_path=folder, tracking_uri=tracking))
            if only:
                return {only: got.read_bytes()}
            return {
                str(file.relative_to(got)): file.read_bytes() for file in got.rglob("*") if file.is_file()
            }
    except AWAY as wrong:
        # MLflow calls an alias that does not exist an invalid value.
        if getattr(wrong, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise Missing(address) from wrong
        raise in_words(wrong, tracking) from None


def in_words(wrong: Exception, tracking: str) -> Refusal:
    """What to say where MLflow refused or did not answer. A password in an address is left out."""
    # The client's own trace follows after these words.
    reason = re.split(r" with exception|\n", str(wrong))[0][:200]
    said = f"MLflow at {tracking} failed ({reason}): start it, or correct --tracking or MLFLOW_TRACKING_URI."
    return Refusal(redacted(said))


def redacted(text: str) -> str:
    """A text without the names and passwords in its addresses."""
    return re.sub(r"//[^/\s]*@", "//", text)
