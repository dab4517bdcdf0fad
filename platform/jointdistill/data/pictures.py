"""Pictures from a folder: photographs of any size, without labels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from jointdistill.types import Refusal

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def pictures_in(folder: Path) -> list[Path]:
    """The PNG, JPEG and WebP files of a folder, in order of their names.

    Raises `Refusal` where there is none, or two would share the name of what is made of them.
    """
    if not folder.is_dir():
        raise Refusal(f"There is no folder {folder}: name one that holds PNG, JPEG or WebP images.")
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in FORMATS and file.is_file())
    if not found:
        raise Refusal(f"There is no PNG, JPEG or WebP image in {folder}: put some there.")
    named: dict[str, Path] = {}
    for file in found:
        if file.stem in named:
            other = named[file.stem].name
            raise Refusal(f"{other} and {file.name} in {folder} differ by their ending only: rename one.")
        named[file.stem] = file
    return found


def read_picture(file: Path) -> NDArray[np.uint8]:
    """uint8 [3, H, W] RGB, turned upright as the camera noted; grey is repeated, transparency dropped.

    Raises `Refusal` where it is no such image, is damaged, has 16 bits a channel or too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=tuple(set(FORMATS.values()))) as picture:
                deep = picture.mode.startswith(("I", "F"))
                pixels = np.asarray(_rgb(picture))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise Refusal(f"{file} has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller.") from error
    except Exception as error:  # on damaged bytes a decoder raises whatever it happens to trip over
        raise Refusal(
            f"{file} is no whole PNG, JPEG or WebP image: replace it, or take it out of the folder."
        ) from error
    if deep:
        # What its values mean nobody says: 12 bits of a camera, 16 of a scanner, millimetres of a sensor.
        raise Refusal(f"{file} has 16 bits a channel: store it with 8, or take it out of the folder.")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _rgb(picture: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(picture)
    # A palette may hold transparency, which Pillow only drops without complaint by way of RGBA.
    return upright.convert("RGBA").convert("RGB") if upright.mode == "P" else upright.convert("RGB")
