"""Where a saved network is fetched from: MLflow's registry, or the folder it was saved in."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from jointdistill.nets.saved import DESCRIPTION, WEIGHTS
from jointdistill.store.base import Missing
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal

REGISTRY = "models:/"


def fetch(address: str, tracking: str) -> dict[str, bytes]:
    """File name → content of the model at `models:/NAME@ALIAS`, `models:/NAME/VERSION`, or in a folder or
    bucket. Nothing of it is run, and nothing is unpickled: `nets.saved.load` makes the network.

    `tracking` is MLflow's address. Raises `Refusal` where there is no such model or MLflow does not answer.
    """
    if not address.startswith(REGISTRY):
        return _folder_files(address)
    # MLflow takes two seconds to import, and who reads a folder need not spend them.
    from jointdistill.store.registry import model_files

    try:
        return model_files(address, tracking)
    except Missing as missing:
        raise Refusal(
            f"There is no model '{address}' in the registry: train it (a teacher with "
            "`python jobs/teach.py`, a student with `python jobs/distill.py`), or name a saved one's folder."
        ) from missing


def _folder_files(address: str) -> dict[str, bytes]:
    """What a saved model is made of, and nothing else that lies there."""
    if "://" not in address and not Path(address).is_dir():
        raise Refusal(f"There is no folder '{address}': name one of a saved model, or models:/NAME@champion.")
    folder = open_store(address)
    files = {file: folder.get(file) for file in folder.list("anchors")}
    for file in (DESCRIPTION, WEIGHTS):
        with suppress(Missing):
            files[file] = folder.get(file)
    return files
