"""JSON that says when it was changed: an object with its own digest in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import cast

from jointdistill.recipe import digest
from jointdistill.types import JSON

_SEAL = "sha256"


def seal(content: Mapping[str, JSON]) -> bytes:
    """The object as bytes, with its digest. Its numbers must be finite: JSON knows no others."""
    return json.dumps({**content, _SEAL: digest(dict(content))}, indent=1, allow_nan=False).encode()


def unseal(sealed: bytes) -> dict[str, JSON]:
    """The object that was sealed. Raises `ValueError` where it is not what was written."""
    try:
        content = json.loads(sealed)
        found = content.pop(_SEAL)
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise ValueError("it is cut off or damaged") from wrong
    if found != digest(content):
        raise ValueError("it is not what was written (its digest differs)")
    return cast("dict[str, JSON]", content)


def sha256(content: bytes) -> str:
    """The digest that everything kept on a store is checked by."""
    return hashlib.sha256(content).hexdigest()
