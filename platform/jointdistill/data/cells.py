"""One cell of a data set: an array as PNG, JPEG or NPY bytes, told apart by their first bytes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_NPY = b"\x93NUMPY"
_PNG = b"\x89PNG"
_BITS, _COLOUR = 24, 25
"""Where a PNG says its bits a channel, and its kind of colour: 0 is grey."""


def decode_image(cell: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [3, H, W] RGB from a PNG or JPEG; grey is repeated, transparency dropped.

    Raises `ValueError` with one sentence where it is no such image or has another size.
    """
    try:
        picture = Image.open(io.BytesIO(cell), formats=("PNG", "JPEG"))
    except Exception as error:
        raise ValueError("the image is no PNG or JPEG: store one of these") from error
    # The size stands in the header: a picture of a billion pixels is refused before it is unpacked.
    if picture.size != (width, height):
        found = f"{picture.height}x{picture.width}"
        raise ValueError(f"the image is {found} but the card says {height}x{width}: resize it, or the card")
    if picture.mode.startswith("I"):
        raise ValueError("the image has 16 bits a channel: store it with 8")
    try:
        pixels = np.asarray(picture.convert("RGB"))
    except Exception as error:
        raise ValueError("the image is damaged: write it again") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def decode_truth(cell: bytes) -> NDArray[Any]:
    """The array in a truth's cell: a PNG of 8 or 16 bits, or what `np.save` wrote.

    Raises `ValueError` with one sentence where it is neither. JPEG is refused, since it changes values, and
    so are grey PNGs of fewer bits, whose values Pillow stretches to 0..255.
    """
    if cell.startswith(_PNG) and len(cell) > _COLOUR and cell[_COLOUR] == 0 and cell[_BITS] < 8:
        raise ValueError(
            f"the PNG has {cell[_BITS]} bits a pixel: write it with 8 (some optimisers save bits)"
        )
    try:
        if cell.startswith(_NPY):
            return np.asarray(np.load(io.BytesIO(cell), allow_pickle=False))
        if cell.startswith(_PNG):
            return np.asarray(Image.open(io.BytesIO(cell), formats=("PNG",)))
    except Exception as error:  # on damaged bytes a decoder raises whatever it happens to trip over
        raise ValueError("the cell is damaged, or holds Python objects: write it again") from error
    raise ValueError("the cell is neither PNG nor NPY: store one of these, or null where there is no label")


def encode_png(values: NDArray[Any]) -> bytes:
    """PNG of uint8 [H, W], uint8 [H, W, 3] or uint16 [H, W]."""
    target = io.BytesIO()
    Image.fromarray(values).save(target, "PNG")
    return target.getvalue()


def encode_npy(values: NDArray[Any]) -> bytes:
    """NPY of any numbers: what keeps floats and NaN."""
    target = io.BytesIO()
    np.save(target, values, allow_pickle=False)
    return target.getvalue()
