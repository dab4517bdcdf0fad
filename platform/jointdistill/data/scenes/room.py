"""A room: a shell with windows, doors and pictures, furniture that leaves room to stand, lamps."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .dice import happens, paint, pick
from .floorplan import FloorPlan
from .furniture import Piece, bed, cabinet, chair, floor_lamp, pot_plant, shade, shelf, sofa, table
from .light import Lamp, Light
from .people import person
from .primitives import Colour, Look, Primitive, box, place
from .scene import Camera, Scene
from .walls import Extent, before, door, faces, hung, pendant, picture, shell, window
from .weather import direction

Maker = Callable[[np.random.Generator], Piece]

_ALONG_WALLS: tuple[Maker, ...] = (bed, sofa, cabinet, cabinet, shelf, shelf, table)
_ANYWHERE: tuple[Maker, ...] = (chair, chair, pot_plant)

_LAMPLIGHT: Colour = (1.0, 0.78, 0.5)


def room(rng: np.random.Generator) -> Scene:
    """A room, looked into from one end of it."""
    extent = Extent(rng.uniform(3.2, 6.5), rng.uniform(3.0, 6.0), rng.uniform(2.4, 3.1))
    evening = happens(rng, 0.25)
    camera = _camera(rng, extent)
    x, y, _ = camera.position
    plan = FloorPlan(extent.length, extent.width, [(0, x + 0.8, y - 0.7, y + 0.7)])
    on_walls, daylight = _walls(rng, extent, 0.06 if evening else rng.uniform(0.7, 1.3))
    standing, lamplight = _furniture(rng, plan, extent, 1.0 if evening or happens(rng, 0.4) else 0.0)
    parts = [*shell(rng, extent), *on_walls, *standing, *_rug(rng, extent)]
    return Scene(
        primitives=parts,
        camera=camera,
        light=_light(rng, evening, (*daylight, *lamplight)),
        focus=(extent.length / 2, 0, 1),
        reach=10,
        lower=(-1, -extent.width / 2, 0),
        upper=(extent.length, extent.width / 2, extent.height),
    )


def _camera(rng: np.random.Generator, extent: Extent) -> Camera:
    """At one end, turned towards the middle, a little down."""
    across = rng.uniform(-0.4, 0.4) * extent.width
    towards = math.atan2(-across, 0.75 * extent.length)
    angles = (towards + rng.normal(0, 0.15), rng.uniform(-0.3, 0.0), rng.normal(0, 0.03))
    return Camera((0.15, across, rng.uniform(1.1, 1.75)), angles, rng.uniform(0.65, 0.85))


def _light(rng: np.random.Generator, evening: bool, lamps: tuple[Lamp, ...]) -> Light:
    """What stands in for the light of ceiling and sky is a soft key light from above, with shadows."""
    level = rng.uniform(0.08, 0.16) if evening else rng.uniform(0.3, 0.5)
    warm = rng.uniform(0.1, 0.3) if evening else rng.uniform(-0.05, 0.12)
    ambient = (level * (1 + warm), level, level * (1 - warm))
    key = rng.uniform(0.5, 1.0)
    return Light(
        towards=direction(rng.uniform(0, 2 * math.pi), rng.uniform(0.95, 1.35)),
        sun=(key * ambient[0], key * ambient[1], key * ambient[2]),
        ambient=ambient,
        horizon=ambient,
        zenith=ambient,
        lamps=lamps,
        dark=evening,
    )


def _walls(rng: np.random.Generator, extent: Extent, daylight: float) -> tuple[list[Primitive], list[Lamp]]:
    """Things on the walls in slots that keep them apart, and the light the windows let in."""
    parts: list[Primitive] = []
    lamps: list[Lamp] = []
    for face in faces(extent):
        along = -face.half + rng.uniform(0.7, 1.2)
        while along < face.half - 0.7:
            kind = rng.random()
            if kind < 0.35 and len(lamps) < 3:
                parts += hung(window(rng, daylight), face, along)
                lamps.append(
                    Lamp(before(face, along, 0.5, 1.5), (0.55 * daylight, 0.6 * daylight, 0.68 * daylight))
                )
            elif kind < 0.75:
                parts += hung(picture(rng), face, along)
            elif kind < 0.9:
                parts += hung(door(rng), face, along)
            along += rng.uniform(1.7, 2.4)
    return parts, lamps


def _furniture(
    rng: np.random.Generator, plan: FloorPlan, extent: Extent, lit: float
) -> tuple[list[Primitive], list[Lamp]]:
    """A group in the middle, then pieces along the walls, then what finds room."""
    parts = _group(rng, plan)
    for _ in range(int(rng.integers(3, 7))):
        parts += plan.against_wall(rng, pick(rng, _ALONG_WALLS)(rng))
    for _ in range(int(rng.integers(1, 4))):
        parts += plan.anywhere(rng, pick(rng, _ANYWHERE)(rng))
    if happens(rng, 0.3):
        parts += plan.anywhere(rng, Piece(person(rng), 0.25, 0.3))
    shining, lamps = _lamps(rng, plan, extent, lit)
    return parts + shining, lamps


def _group(rng: np.random.Generator, plan: FloorPlan) -> list[Primitive]:
    """A table with chairs around it, or a sofa before a low table."""
    piece = table(rng)
    spot = (rng.uniform(0.45, 0.7) * plan.length, rng.uniform(-0.2, 0.2) * plan.width)
    parts = plan.stand(piece, *spot, 0)
    seats: Maker = chair if happens(rng, 0.65) else sofa
    around = [seats(rng) for _ in range(int(rng.integers(1, 5)))]
    away = max(seat.depth for seat in around) + (0.06 if seats is chair else 0.3)
    return parts + plan.around(around, spot, (piece.depth + away, piece.width + away))


def _lamps(
    rng: np.random.Generator, plan: FloorPlan, extent: Extent, lit: float
) -> tuple[list[Primitive], list[Lamp]]:
    """A floor lamp, a pendant, or both."""
    parts, lamps = [], []
    power = (1.6 * lit * _LAMPLIGHT[0], 1.6 * lit * _LAMPLIGHT[1], 1.6 * lit * _LAMPLIGHT[2])
    glow = 1.5 * lit
    if happens(rng, 0.5) and (lamp := plan.anywhere(rng, floor_lamp(rng, glow))):
        parts += lamp
        lamps.append(Lamp(lamp[-1].centre, power))
    if not parts or happens(rng, 0.4):
        hanging = place(
            pendant(rng, extent.height, shade(rng, 0, glow)),
            rng.uniform(0.4, 0.7) * extent.length,
            rng.uniform(-0.2, 0.2) * extent.width,
        )
        parts += hanging
        lamps.append(Lamp(hanging[-1].centre, power))
    return parts, lamps if lit else []


def _rug(rng: np.random.Generator, extent: Extent) -> list[Primitive]:
    """A rug; it counts as floor."""
    if happens(rng, 0.4):
        return []
    half = (rng.uniform(0.6, 0.3 * extent.length), rng.uniform(0.5, 0.3 * extent.width))
    inks = [paint(rng, (0, 1), (0.1, 0.7), (0.25, 0.85)) for _ in range(2)]
    look = Look("floor", inks[0], "rug", 0.5 / max(half), inks[1])
    rug = box(
        (rng.uniform(0.4, 0.6) * extent.length, 0, 0.006), (half[0], half[1], 0.006), look, rng.normal(0, 0.1)
    )
    return [rug._replace(casts=False)]
