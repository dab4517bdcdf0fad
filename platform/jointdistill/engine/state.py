"""A `State` as bytes: one safetensors file whose metadata carries the plain values as JSON."""

from __future__ import annotations

import json

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
    """The state of a file `pack` wrote."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return load(content), json.loads(header["__metadata__"][_PLAIN])
