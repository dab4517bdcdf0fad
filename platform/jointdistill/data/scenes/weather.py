"""The light out of doors: sun, cloud, fog, rain and night."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .dice import pick
from .light import Light
from .primitives import Colour, Vector


def weather(rng: np.random.Generator) -> Light:
    """Weather by its share: half of the scenes are sunny."""
    kinds: tuple[Callable[[np.random.Generator], Light], ...] = (
        sunny,
        sunny,
        sunny,
        sunny,
        overcast,
        foggy,
        rainy,
        night,
    )
    return pick(rng, kinds)(rng)


def sunny(rng: np.random.Generator) -> Light:
    """A sun between low and warm, and high and white, with some clouds."""
    elevation = rng.uniform(0.25, 1.2)
    warm = math.exp(-2.5 * elevation)
    strength = rng.uniform(1.1, 1.9)
    return Light(
        towards=direction(rng.uniform(0, 2 * math.pi), elevation),
        sun=_times((1, 1 - 0.45 * warm, 0.95 - 0.75 * warm), strength),
        ambient=_times((0.85, 0.95, 1.15), rng.uniform(0.28, 0.45)),
        horizon=_times((0.62 + 0.4 * warm, 0.76, 0.95 - 0.3 * warm), rng.uniform(0.8, 1.0)),
        zenith=_times((0.1, 0.27, 0.75), rng.uniform(0.7, 1.1)),
        clouds=rng.uniform(0, 0.9),
        fog_m=rng.uniform(250, 1200),
    )


def overcast(rng: np.random.Generator) -> Light:
    """A grey sky from which light comes on all sides."""
    sky = rng.uniform(0.6, 0.9)
    return Light(
        towards=direction(rng.uniform(0, 2 * math.pi), 1.2),
        sun=(0, 0, 0),
        ambient=_times((0.95, 1, 1.06), rng.uniform(0.7, 0.95)),
        horizon=_times((0.95, 0.98, 1), sky),
        zenith=_times((0.85, 0.9, 0.97), sky * rng.uniform(0.5, 0.8)),
        clouds=rng.uniform(0.3, 0.8),
        fog_m=rng.uniform(120, 500),
    )


def foggy(rng: np.random.Generator) -> Light:
    """Little is left after a few car lengths."""
    sky = rng.uniform(0.65, 0.85)
    fog = _times((0.97, 0.99, 1), sky)
    return Light(
        towards=direction(rng.uniform(0, 2 * math.pi), 1.2),
        sun=(0, 0, 0),
        ambient=_times((0.98, 1, 1.03), rng.uniform(0.6, 0.8)),
        horizon=fog,
        zenith=fog,
        clouds=0,
        fog_m=rng.uniform(18, 60),
    )


def rainy(rng: np.random.Generator) -> Light:
    """Dark clouds, streaks, and a road that mirrors them."""
    sky = rng.uniform(0.45, 0.65)
    return Light(
        towards=direction(rng.uniform(0, 2 * math.pi), 1.2),
        sun=(0, 0, 0),
        ambient=_times((0.92, 0.98, 1.08), rng.uniform(0.5, 0.7)),
        horizon=_times((0.95, 0.98, 1), sky),
        zenith=_times((0.7, 0.76, 0.85), sky),
        clouds=rng.uniform(0.6, 1),
        fog_m=rng.uniform(50, 160),
        wet=rng.uniform(0.5, 0.9),
        rain=rng.uniform(0.3, 1),
    )


def night(rng: np.random.Generator) -> Light:
    """Lamps, lit windows and what the town throws back from the sky."""
    glow = rng.uniform(0.6, 1.4)
    return Light(
        towards=direction(rng.uniform(0, 2 * math.pi), 0.8),
        sun=(0, 0, 0),
        ambient=_times((0.03, 0.035, 0.055), glow),
        horizon=_times((0.06, 0.045, 0.05), glow),
        zenith=_times((0.006, 0.009, 0.025), glow),
        clouds=rng.uniform(0, 0.5),
        fog_m=rng.uniform(100, 500),
        wet=pick(rng, (0.0, 0.0, 0.6)),
        dark=True,
    )


def direction(azimuth: float, elevation: float) -> Vector:
    """The unit vector at these angles."""
    level = math.cos(elevation)
    return level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)


def _times(colour: Colour, factor: float) -> Colour:
    red, green, blue = colour
    return red * factor, green * factor, blue * factor
