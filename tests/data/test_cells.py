from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jointdistill.data.cells import decode_image, decode_truth, encode_npy, encode_png

RNG = np.random.default_rng(0)


def picture(mode: str, kind: str = "PNG") -> bytes:
    target = io.BytesIO()
    Image.new(mode, (6, 4), 7 if mode in ("L", "P", "I;16") else "red").save(target, kind)
    return target.getvalue()


@pytest.mark.parametrize(("kind", "shape"), [("uint8", (4, 6)), ("uint16", (4, 6)), ("uint8", (4, 6, 3))])
def test_png_keeps_every_value(kind: str, shape: tuple[int, ...]) -> None:
    values = RNG.integers(0, np.iinfo(kind).max + 1, shape).astype(kind)
    decoded = decode_truth(encode_png(values))
    assert decoded.dtype == values.dtype
    assert (decoded == values).all()


@pytest.mark.parametrize("kind", ["float16", "float32", ">f4", "int32"])
def test_npy_keeps_every_value(kind: str) -> None:
    values = RNG.normal(size=(4, 6, 2)).astype(kind)
    assert (decode_truth(encode_npy(values)) == values).all()


def test_an_image_is_rgb_with_channels_first() -> None:
    pixels = RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = decode_image(encode_png(pixels), 4, 6)
    assert image.dtype == np.uint8
    assert (image == pixels.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("cell", [picture("L"), picture("P"), picture("RGBA"), picture("RGB", "JPEG")])
def test_usual_pictures_are_taken(cell: bytes) -> None:
    assert decode_image(cell, 4, 6).shape == (3, 4, 6)


def test_a_truth_with_a_palette_is_read_by_its_numbers() -> None:
    labels = RNG.integers(0, 200, (4, 6), dtype=np.uint8)
    coloured = Image.fromarray(labels)
    coloured.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tobytes())
    coloured.save(target := io.BytesIO(), "PNG")
    assert (decode_truth(target.getvalue()) == labels).all()


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (b"", "no PNG or JPEG"),
        (picture("RGB", "GIF"), "no PNG or JPEG"),
        (encode_npy(np.zeros((4, 6, 3))), "no PNG or JPEG"),
        (encode_png(np.zeros((5, 6, 3), np.uint8)), "is 5x6 but the card says 4x6"),
        (encode_png(np.zeros((4, 6), np.uint16)), "16 bits"),
        (picture("RGB")[:-30], "damaged"),
    ],
)
def test_an_unfit_image_is_refused(cell: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        decode_image(cell, 4, 6)


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (b"", "neither PNG nor NPY"),
        (picture("RGB", "JPEG"), "neither PNG nor NPY"),
        (picture("L")[:-30], "damaged"),
        (encode_npy(np.zeros(9))[:-1], "damaged"),
    ],
)
def test_an_unfit_truth_is_refused(cell: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        decode_truth(cell)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_grey_truth_of_few_bits_is_refused_since_its_values_would_be_stretched(bits: int) -> None:
    rows = b"".join(b"\0" + bytes(-(-8 * bits // 8)) for _ in range(4))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 8, 4, bits, 0, 0, 0, 0),
        b"IDAT": zlib.compress(rows),
        b"IEND": b"",
    }
    cell = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    assert np.asarray(Image.open(io.BytesIO(cell))).shape == (4, 8)
    with pytest.raises(ValueError, match=f"has {bits} bits a pixel"):
        decode_truth(cell)


def test_nothing_is_unpickled() -> None:
    target = io.BytesIO()
    np.save(target, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        decode_truth(target.getvalue())


@given(st.sampled_from([picture("RGB"), picture("RGB", "JPEG"), encode_npy(np.ones((4, 6)))]), st.data())
def test_damage_is_a_value_error_or_a_value(cell: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(cell) - 1))
    damaged = cell[:place] + bytes([data.draw(st.integers(0, 255))]) + cell[place + 1 :]
    for decode in (decode_truth, lambda cell: decode_image(cell, 4, 6)):
        try:
            assert isinstance(decode(damaged), np.ndarray)
        except ValueError as error:
            assert ": " in str(error)
