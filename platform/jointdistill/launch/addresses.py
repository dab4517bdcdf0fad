"""Where things lie: addresses made absolute in the driver, since workers start in other folders."""

from __future__ import annotations

import os
from pathlib import Path

from jointdistill.data.format import read_card
from jointdistill.nets.fetch import REGISTRY, fetch
from jointdistill.nets.joint import JointNet
from jointdistill.nets.saved import Model, load
from jointdistill.place import Place
from jointdistill.store.objects import open_store
from jointdistill.types import Card, Refusal


def storage_of(storage: str) -> str:
    """The storage's absolute folder or URI: the flag, then JOINTDISTILL_STORAGE, then ./storage."""
    chosen = storage or os.environ.get("JOINTDISTILL_STORAGE", "")
    if not chosen and in_submitted_job():
        raise Refusal(
            "A submitted job has no folder of its own to keep things in: give --storage or set "
            "JOINTDISTILL_STORAGE to an absolute folder or URI that all nodes see."
        )
    return absolute(chosen or "storage", "--storage")


def data_of(name: str, storage: str, data: str = "") -> str:
    """The data set's absolute folder or URI: the flag `--data`, or data/NAME in the storage."""
    return absolute(data, "--data") if data else f"{storage_of(storage)}/data/{name}"


def cache_of(cache: str) -> Path:
    """Where this machine keeps decoded images: the flag, then JOINTDISTILL_CACHE, then the user's cache."""
    chosen = cache or os.environ.get("JOINTDISTILL_CACHE", "") or "~/.cache/jointdistill"
    return Path(chosen).expanduser()


def card_at(data: str) -> Card:
    """The card of the data set at an address. Raises `Refusal` where there is none."""
    # Opening a folder makes it, and a mistyped one is better left unmade.
    if "://" not in data and not Path(data).is_dir():
        raise Refusal(
            f"There is no data set in {data}: correct --data or --storage, or draw the default one with "
            "`python jobs/prepare.py scenes`."
        )
    return read_card(open_store(data))


def network_at(model: str, place: Place) -> tuple[Model, JointNet]:
    """The saved network at `models:/NAME@ALIAS`, `models:/NAME/VERSION` or in a folder, on the place's
    device and ready to answer. Raises `Refusal` where there is none."""
    tracking = tracking_of(place) if model.startswith(REGISTRY) else ""
    described, network = load(fetch(model, tracking), model)
    return described, network.eval().to(place.device_here)


def tracking_of(place: Place) -> str:
    """MLflow's tracking URI: the flag, then MLFLOW_TRACKING_URI, then a SQLite file in the storage.

    Raises `Refusal` where the storage is not a folder, since SQLite needs one.
    """
    chosen = place.tracking or os.environ.get("MLFLOW_TRACKING_URI", "")
    if chosen:
        scheme, _, path = chosen.rpartition(":///")
        file = scheme == "sqlite" or "://" not in chosen
        return f"sqlite:///{absolute(path, '--tracking')}" if file else chosen
    storage = storage_of(place.storage)
    if "://" in storage:
        raise Refusal(
            f"With storage at {storage} there is no folder for MLflow's database: give --tracking, or set "
            "MLFLOW_TRACKING_URI to your MLflow server."
        )
    return f"sqlite:///{storage}/mlflow.db"


def absolute(address: str, flag: str) -> str:
    """A folder as an absolute path, a URI as it is.

    Raises `Refusal` for a relative folder in a submitted job: it would lie in a temporary folder.
    """
    if "://" in address:
        return address.rstrip("/")
    if not Path(address).expanduser().is_absolute() and in_submitted_job():
        raise Refusal(
            f"{flag} {address} is relative, and a submitted job runs in a temporary folder: give an absolute "
            "folder or a URI that all nodes see."
        )
    return str(Path(address).expanduser().resolve())


def in_submitted_job() -> bool:
    """Whether this process is the entrypoint of `ray job submit`."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
