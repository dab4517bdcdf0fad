"""A `State` as bytes: one safetensors file whose metadata carries the plain values as JSON.

Nothing in it can run code: neither format knows any.
"""

from __future__ import annotations

import json

from safetensors import SafetensorError
from safetensors.torch import load, save

from jointdistill.types import State

_PLAIN = "plain"


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
