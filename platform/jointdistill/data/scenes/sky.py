"""The colour of the sky."""

from __future__ import annotations

import numpy as np

from .light import Light
from .noise import Floats
from .textures import TEXTURE, look_up


def gradient(light: Light, upward: Floats) -> Floats:
    """[3, N] from the horizon to the zenith; `upward` [N] is the sine of the elevation."""
    share = np.sqrt(np.clip(upward, 0, 1))
    horizon, zenith = (np.asarray(end, np.float32)[:, None] for end in (light.horizon, light.zenith))
    return horizon + (zenith - horizon) * share


def sky(light: Light, directions: Floats) -> Floats:
    """[3, N] what is seen along directions [3, N]: gradient, clouds on a plane, a glow around the sun."""
    unit = directions / np.sqrt((directions * directions).sum(0))
    colour = gradient(light, unit[2])
    height = np.maximum(unit[2], 0) + np.float32(0.12)
    clouds = np.full(unit.shape[1], TEXTURE["leaf"], np.int32)
    tone = look_up(clouds, unit[0] / height * 0.05, unit[1] / height * 0.05, np.full_like(height, 0.02))[0]
    cover = np.clip((tone - 0.9) * 1.5, 0, 1) * np.float32(light.clouds)
    brightest = np.float32(max(light.horizon)) * (1.15 - 0.5 * np.clip(tone - 1.1, 0, 1))
    colour += (brightest - colour) * cover
    towards = np.asarray(light.towards, np.float32)
    near_sun = np.clip(towards @ unit, 0, 1)
    colour += np.asarray(light.sun, np.float32)[:, None] * (0.25 * near_sun**24 + 2 * near_sun**900)
    return colour
