"""What drives: cars, vans, lorries, buses and bicycles, standing on z = 0 and facing +x."""

from __future__ import annotations

import numpy as np

from .dice import grey, happens, paint, pick
from .people import rider
from .primitives import Colour, Look, Primitive, box, cylinder, ellipsoid, frustum, spokes, wheel

_TYRE: Colour = (0.07, 0.07, 0.08)
_GLASS: Colour = (0.12, 0.15, 0.18)


def _paintwork(rng: np.random.Generator) -> Colour:
    """Most cars are black, white or grey."""
    if happens(rng, 0.5):
        return grey(rng, 0.08, 0.9)
    return paint(rng, (0, 1), (0.4, 0.85), (0.25, 0.8))


def _wheels(label: str, axles: tuple[float, ...], aside: float, radius: float) -> list[Primitive]:
    """A pair of wheels with hubs on each axle."""
    tyre, hub = Look(label, _TYRE), Look(label, (0.5, 0.5, 0.52), gloss=0.4)
    parts = []
    for axle in axles:
        for side in (-aside, aside):
            parts.append(wheel((axle, side, radius), radius, 0.11, tyre))
            parts.append(wheel((axle, side, radius), 0.55 * radius, 0.12, hub))
    return parts


def _lights(label: str, front: float, aside: float, up: float, lit: float) -> list[Primitive]:
    """White in front, red behind; `lit` is how bright."""
    white = Look(label, (0.85, 0.85, 0.8), glow=(lit, lit, 0.85 * lit), gloss=0.5)
    red = Look(label, (0.6, 0.05, 0.04), glow=(0.7 * lit, 0.06 * lit, 0.04 * lit))
    parts = []
    for side in (-aside, aside):
        parts.append(box((front, side, up), (0.04, 0.16, 0.07), white))
        parts.append(box((-front, side, up + 0.05), (0.03, 0.14, 0.08), red))
    return parts


def car(rng: np.random.Generator, lit: float) -> list[Primitive]:
    """A saloon, an estate or a hatchback. `lit` is the brightness of its lights."""
    body = Look("car", _paintwork(rng), gloss=0.5)
    glass = Look("car", _GLASS, gloss=1.0)
    half = rng.uniform(1.85, 2.25)
    tail = pick(rng, (-0.1, -0.35, -0.55))  # where the cabin sits decides what the car is
    cabin = half * (0.62 + 0.35 * abs(tail))
    rise = rng.uniform(0.27, 0.36)
    top = 0.86 + 2 * rise
    return [
        box((0, 0, 0.5), (half, 0.84, 0.2), body),
        frustum((0, 0, 0.78), (half, 0.84, 0.1), body, (0.92, 0.93)),
        box((0, 0, 0.33), (half + 0.04, 0.82, 0.09), Look("car", (0.12, 0.12, 0.13))),
        frustum((half * tail * 0.6, 0, 0.86 + rise), (cabin, 0.77, rise), glass, (0.62, 0.84)),
        frustum((half * tail * 0.6, 0, top), (0.66 * cabin, 0.66, 0.035), body, (0.9, 0.9)),
        *_wheels("car", (-0.62 * half, 0.62 * half), 0.76, 0.33),
        *_lights("car", half, 0.6, 0.66, lit),
    ]


def van(rng: np.random.Generator, lit: float) -> list[Primitive]:
    """A delivery van; a car by its label."""
    body = Look("car", _paintwork(rng), gloss=0.3)
    glass = Look("car", _GLASS, gloss=1.0)
    return [
        box((-0.35, 0, 1.25), (2.1, 0.95, 0.9), body),
        frustum((2.05, 0, 0.75), (0.5, 0.93, 0.4), body, (0.8, 0.98)),
        frustum((1.6, 0, 1.55), (0.75, 0.9, 0.5), glass, (0.5, 0.95)),
        *_wheels("car", (-1.5, 1.75), 0.85, 0.36),
        *_lights("car", 2.5, 0.7, 0.7, lit),
    ]


def lorry(rng: np.random.Generator, lit: float) -> list[Primitive]:
    """A cab and a box."""
    cab = Look("truck", _paintwork(rng), gloss=0.4)
    cargo = Look("truck", _paintwork(rng), pick(rng, ("plain", "stripes", "canvas")), 0.3, _paintwork(rng))
    half = rng.uniform(1.8, 3.2)
    front = half + 0.95
    return [
        box((-0.4, 0, 1.95), (half, 1.2, 1.25), cargo),
        box((0, 0, 0.62), (front, 0.9, 0.14), Look("truck", _TYRE)),
        box((front - 0.5, 0, 1.2), (0.65, 1.1, 0.7), cab),
        frustum((front - 0.6, 0, 2.3), (0.72, 1.08, 0.45), Look("truck", _GLASS, gloss=1), (0.8, 0.95)),
        box((front - 0.7, 0, 2.78), (0.55, 1.05, 0.05), cab),
        *_wheels("truck", (-0.7 * half, front - 0.6), 1.0, 0.5),
        *_lights("truck", front + 0.16, 0.8, 0.8, lit),
    ]


def bus(rng: np.random.Generator, lit: float) -> list[Primitive]:
    """A town bus with a band of windows."""
    body = Look("truck", paint(rng, (0, 1), (0.4, 0.9), (0.4, 0.9)), gloss=0.4)
    inside = (0.5 * lit, 0.47 * lit, 0.38 * lit)
    glass = Look("truck", _GLASS, "ribbons", 0.25, (0.2, 0.24, 0.28), inside, gloss=0.9)
    half = rng.uniform(4, 5.5)
    return [
        box((0, 0, 0.95), (half, 1.25, 0.65), body),
        box((0, 0, 2.1), (half - 0.02, 1.23, 0.5), glass),
        box((0, 0, 2.75), (half, 1.25, 0.17), body),
        box(
            (half - 0.03, 0, 2.72),
            (0.05, 0.7, 0.12),
            Look("truck", (0.1, 0.08, 0.03), "signboard", 0.7, (1, 0.7, 0.2)),
        ),
        *_wheels("truck", (-0.6 * half, 0.65 * half), 1.1, 0.48),
        *_lights("truck", half + 0.02, 0.95, 0.7, lit),
    ]


def bicycle(rng: np.random.Generator) -> list[Primitive]:
    """Somebody rides every second one."""
    frame = Look("bicycle", paint(rng, (0, 1), (0.3, 0.9), (0.2, 0.9)), gloss=0.4)
    dark = Look("bicycle", _TYRE)
    parts = [
        spokes((-0.52, 0, 0.34), 0.34, 0.025, dark),
        spokes((0.52, 0, 0.34), 0.34, 0.025, dark),
        box((0.05, 0, 0.74), (0.38, 0.022, 0.022), frame),
        frustum((-0.05, 0, 0.55), (0.36, 0.018, 0.2), frame, (0.35, 1)),
        cylinder((-0.2, 0, 0.72), 0.02, 0.2, frame),
        cylinder((0.45, 0, 0.68), 0.022, 0.34, frame),
        box((0.42, 0, 1.02), (0.03, 0.27, 0.02), dark),
        ellipsoid((-0.2, 0, 0.94), (0.14, 0.08, 0.04), dark),
    ]
    return parts + rider(rng) if happens(rng, 0.5) else parts


def vehicle(rng: np.random.Generator, lit: float) -> list[Primitive]:
    """Any motor vehicle, by its share in traffic."""
    return pick(rng, (car, car, car, car, car, car, van, van, lorry, bus))(rng, lit)
