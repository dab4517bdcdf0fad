"""States as bytes: tensors as safetensors whose metadata carries plain values, plain values as sealed JSON.

Nothing here can run code: neither format knows any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import cast

from safetensors import SafetensorError
from safetensors.torch import load, save

from jointdistill.types import JSON, State

_PLAIN = "plain"
_SEAL = "sha256"


def pack(state: State) -> bytes:
    """The state as one safetensors file."""
    tensors, plain = state
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content: bytes = save(contiguous, metadata={_PLAIN: json.dumps(plain)})
    return content


def unpack(content: bytes) -> State:
    """The state of a file `pack` wrote. Raises `ValueError` where it is none."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return load(content), json.loads(header["__metadata__"][_PLAIN])
    except (SafetensorError, ValueError, KeyError, TypeError) as wrong:
        raise ValueError(f"it is no safetensors file of ours ({type(wrong).__name__})") from wrong


def seal(content: Mapping[str, JSON]) -> bytes:
    """A JSON object with its own digest in it, so that one changed digit is noticed."""
    return json.dumps({**content, _SEAL: _digest(content)}, indent=1, sort_keys=True).encode()


def unseal(sealed: bytes) -> dict[str, JSON]:
    """The object that was sealed. Raises `ValueError` where it is not what was written."""
    try:
        content = json.loads(sealed)
        found = content.pop(_SEAL)
    except (ValueError, KeyError, TypeError, AttributeError) as wrong:
        raise ValueError("it is cut off or damaged") from wrong
    if found != _digest(content):
        raise ValueError("it is not what was written (its digest differs)")
    return cast("dict[str, JSON]", content)


def sha256(content: bytes) -> str:
    """The digest that everything kept on a store is checked by."""
    return hashlib.sha256(content).hexdigest()


def _digest(content: Mapping[str, JSON]) -> str:
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())
