"""A street: a road between plots, with trees, lamps and signs, traffic and people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .buildings import plot
from .dice import Range, happens, pick
from .kerbside import LAMP_HEIGHT, LAMP_REACH, bollards, mast, street_lamp, traffic_light, traffic_sign
from .light import Lamp, Light
from .people import person
from .plants import bush, tree
from .primitives import Primitive, box, place
from .road import Road
from .scene import Camera, Scene
from .vehicles import bicycle, vehicle
from .weather import weather

NEARBY = 5.0
"""Metres ahead of the camera that are kept clear."""
END = 120.0
"""Metres along the road that are built up."""

SIDES = (-1, 1)
"""Right and left of the road."""

_KERBSIDE = (street_lamp, street_lamp, traffic_sign, traffic_sign, traffic_light, mast, bollards)


def street(rng: np.random.Generator) -> Scene:
    """A street, looked at along the road by somebody in a car or on the pavement."""
    light = weather(rng)
    road = Road.laid(rng, light.wet)
    lit = 1.0 if light.dark else 0.0
    furniture, lamps = _kerbside(rng, road, light)
    parts = [
        *_plots(rng, road, lit),
        *furniture,
        *_parked(rng, road),
        *_traffic(rng, road, max(lit, 0.6 * (light.fog_m < 100))),
        *_people(rng, road),
    ]
    ground = box((0, 0, -1), (2000, 2000, 1), road.looks[0])._replace(casts=False)
    camera, infinite = _camera(rng, road), math.inf
    return Scene(
        primitives=[*parts, ground],
        camera=camera,
        light=replace(light, lamps=(*lamps, *_headlamp(camera, road, light))),
        focus=(26, 0, 0),
        reach=64,
        lower=(-infinite, -infinite, 0),
        upper=(infinite, infinite, infinite),
        ground=road,
    )


def _camera(rng: np.random.Generator, road: Road) -> Camera:
    """In a lane, at the height of a driver; or on the pavement, at the height of the eyes."""
    on_foot = happens(rng, 0.25)
    if on_foot:
        side = pick(rng, SIDES)
        across, height = side * (road.half_width + 0.6 * road.pavement), rng.uniform(1.4, 1.8)
        yaw = rng.normal(-0.25 * side, 0.12)
    else:
        across, height = rng.uniform(-0.6, 0.6) * road.half_width, rng.uniform(1.2, 2.2)
        yaw = rng.normal(0, 0.12)
    angles = (yaw, rng.uniform(-0.08, 0.06), rng.normal(0, 0.025))
    return Camera((0, across, height), angles, rng.uniform(0.9, 1.2))


def _headlamp(camera: Camera, road: Road, light: Light) -> list[Lamp]:
    """At night a light goes before a camera that drives."""
    x, y, _ = camera.position
    driving = abs(y) < road.half_width
    return [Lamp((x + 4, y, 1.3), (2.0, 1.9, 1.7))] if light.dark and driving else []


def _plots(rng: np.random.Generator, road: Road, lit: float) -> list[Primitive]:
    """Buildings and gardens on both sides, with a gap where the side street comes in."""
    parts = []
    for side in SIDES:
        setback = road.half_width + road.pavement + rng.uniform(0.2, 3.5)
        along = -8.0
        while along < END:
            width = 3.0 * int(rng.integers(2, 6))
            middle = along + width / 2
            if not road.crossed(middle, width / 2):
                x, y, yaw = road.spot(middle, side * setback)
                parts += place(plot(rng, width, lit), x, y, yaw - side * math.pi / 2)
            along += width + rng.uniform(0, 2.5)
    return parts


def _places(rng: np.random.Generator, end: float, apart: Range) -> Iterator[tuple[int, float]]:
    """Side and metres along the road of places, so far apart, at which something may stand."""
    for side in SIDES:
        along = NEARBY + rng.uniform(0, apart[0])
        while along < end:
            yield side, along
            along += rng.uniform(*apart)


def _kerbside(rng: np.random.Generator, road: Road, light: Light) -> tuple[list[Primitive], list[Lamp]]:
    """One thing every few metres of pavement, close to the kerb; and the lamps that burn."""
    parts: list[Primitive] = []
    lamps: list[Lamp] = []
    lit = 1.6 if light.dark else 0.0
    for side, along in _places(rng, 70, (4, 10)):
        x, y, yaw = road.spot(along, side * (road.half_width + 0.55))
        share = rng.random()
        if road.crossed(along) or share < 0.18:
            continue
        if share < 0.6:
            parts += place(tree(rng) if happens(rng, 0.8) else bush(rng), x, y, yaw)
            continue
        kind = pick(rng, _KERBSIDE)
        towards = yaw - side * math.pi / 2 if kind is street_lamp else yaw + math.pi
        parts += place(kind(rng, lit), x, y, towards)
        if kind is street_lamp and light.dark:
            lamps.append(Lamp((x, y - side * LAMP_REACH, LAMP_HEIGHT - 0.3), (7, 5.2, 3.0)))
    return parts, lamps


def _parked(rng: np.random.Generator, road: Road) -> list[Primitive]:
    """Vehicles along the kerbs, if that leaves two lanes; more of them in some streets."""
    if road.half_width < 5:
        return []
    parts = []
    crowded = rng.uniform(0.2, 0.8)
    for side, along in _places(rng, 55, (5.5, 11)):
        if not happens(rng, crowded) or road.crossed(along, 4):
            continue
        x, y, yaw = road.spot(along + 3, side * (road.half_width - 1.15))
        parts += place(vehicle(rng, 0.0), x, y, yaw + _heading(side) + rng.normal(0, 0.03))
    return parts


def _traffic(rng: np.random.Generator, road: Road, lit: float) -> list[Primitive]:
    """Vehicles in both lanes, and now and then a bicycle; we drive on the right."""
    parts = []
    for side, along in _places(rng, 85, (9, 22)):
        x, y, yaw = road.spot(along + 3, 1.4 * side + rng.normal(0, 0.15))
        share = rng.random()
        if share < 0.8:
            driven = bicycle(rng) if share < 0.25 else vehicle(rng, lit)
            parts += place(driven, x, y, yaw + _heading(side) + rng.normal(0, 0.04))
    return parts


def _heading(side: int) -> float:
    """Which way traffic goes on a side of the road: away from the camera on the right."""
    return math.pi if side > 0 else 0.0


def _people(rng: np.random.Generator, road: Road) -> list[Primitive]:
    """On the pavements, a few on the road; some with a bicycle, some close by."""
    parts = []
    for _ in range(int(rng.integers(3, 11))):
        along = NEARBY + 40 * rng.random() ** 1.7
        side = pick(rng, SIDES)
        across = side * (road.half_width + rng.uniform(1.0, road.pavement))
        if happens(rng, 0.12):
            across = rng.uniform(-1, 1) * road.half_width
        x, y, _ = road.spot(along, across)
        somebody = bicycle(rng) if happens(rng, 0.2) else person(rng)
        parts += place(somebody, x, y, rng.uniform(0, 2 * math.pi))
    return parts
