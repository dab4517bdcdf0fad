"""The drawings that surfaces are papered with.

A texture has three channels: the tone that multiplies a colour, the share of the accent colour, and how
much of a look's glow comes through. A tile is drawn about its middle, so that what belongs on a plate
(a picture, a traffic sign) sits in the middle of it. Rows go up, columns to the right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from .noise import Floats, fractal, value_noise

Pattern: TypeAlias = Callable[[np.random.Generator], Floats]
"""Draws [3, SIZE, SIZE]."""

SIZE = 256
"""Texels along the edge of a tile."""

_ROW, _COLUMN = np.mgrid[:SIZE, :SIZE]
_UP, _RIGHT = (
    ((_ROW + 0.5) / SIZE * 2 - 1).astype(np.float32),
    ((_COLUMN + 0.5) / SIZE * 2 - 1).astype(np.float32),
)


def _layers(tone: Floats, accent: Floats | float = 0.0, glow: Floats | float = 1.0) -> Floats:
    """[3, SIZE, SIZE] the channels of one texture."""
    return np.stack(
        [np.broadcast_to(np.asarray(part, np.float32), (SIZE, SIZE)) for part in (tone, accent, glow)]
    )


def _mottled(strength: float, octaves: tuple[int, ...], patches: float = 0.0) -> Pattern:
    """Uneven, without a pattern; the accent comes in patches."""

    def draw(rng: np.random.Generator) -> Floats:
        tone = np.clip(1 + strength * fractal(rng, SIZE, octaves), 0.2, 1.8)
        return _layers(tone, np.clip(patches * fractal(rng, SIZE, (4, 8, 16, 32)), 0, 1))

    return draw


def _plain(rng: np.random.Generator) -> Floats:
    return _layers(np.clip(1 + 0.05 * fractal(rng, SIZE), 0.7, 1.3))


def _brick(rng: np.random.Generator) -> Floats:
    """Courses of 8 bricks; the accent is mortar."""
    course = _ROW // 16
    shifted = (_COLUMN + course % 2 * 16) % SIZE
    mortar = (_ROW % 16 < 2) | (shifted % 32 < 2)
    brick = rng.normal(0, 0.15, (16, 8)).astype(np.float32)[course, shifted // 32]
    return _layers(np.clip(1 + brick * ~mortar + 0.08 * fractal(rng, SIZE), 0.4, 1.6), mortar)


def _planks(rng: np.random.Generator) -> Floats:
    """Boards along the columns, with grain and gaps."""
    board = _ROW // 32
    grain = value_noise(rng, SIZE, (128, 4)) - 0.5
    tone = 1 + 0.35 * grain + rng.normal(0, 0.1, 8).astype(np.float32)[board]
    return _layers(np.where(_ROW % 32 < 2, 0.45, tone).astype(np.float32))


def _tiles(rng: np.random.Generator) -> Floats:
    """4 × 4 slabs with grooves; a chequerboard in the accent's colour."""
    groove = (_ROW % 64 < 3) | (_COLUMN % 64 < 3)
    slab = rng.normal(0, 0.05, (4, 4)).astype(np.float32)[_ROW // 64, _COLUMN // 64]
    tone = np.where(groove, 0.6, 1 + slab + 0.06 * fractal(rng, SIZE)).astype(np.float32)
    return _layers(tone, (_ROW // 64 + _COLUMN // 64) % 2)


def _facade(rng: np.random.Generator) -> Floats:
    """4 × 4 windows of accent-coloured glass, some of them lit, with sills."""
    up, right = _ROW % 64, _COLUMN % 64
    glass = (up > 18) & (up < 54) & (right > 14) & (right < 50)
    bars = glass & ((np.abs(right - 32) < 2) | (np.abs(up - 40) < 2))
    sill = (up > 13) & (up <= 18) & (right > 11) & (right < 53)
    lit = rng.random((4, 4)).astype(np.float32)[_ROW // 64, _COLUMN // 64]
    tone = 1 + 0.07 * fractal(rng, SIZE) + 0.25 * sill - 0.25 * (glass & ~bars) + 0.5 * (lit - 0.5) * glass
    return _layers(np.clip(tone, 0.2, 1.6), glass & ~bars, (glass & ~bars) * np.clip(lit - 0.5, 0, 1) * 2)


def _ribbons(rng: np.random.Generator) -> Floats:
    """An office: bands of glass between floors."""
    glass = (_ROW % 64 > 20) & (_COLUMN % 32 > 1)
    lit = rng.random((4, 8)).astype(np.float32)[_ROW // 64, _COLUMN // 32]
    tone = np.where(glass, 0.6 + 0.6 * lit, 1 + 0.05 * fractal(rng, SIZE)).astype(np.float32)
    return _layers(tone, glass, glass * (lit > 0.6))


def _stripes(rng: np.random.Generator) -> Floats:
    """Cloth, curtains, corrugated iron."""
    fold = np.sin(_COLUMN * (2 * np.pi * 16 / SIZE)).astype(np.float32)
    return _layers(1 + 0.2 * fold, (_COLUMN // 32) % 2)


def _weave(rng: np.random.Generator) -> Floats:
    """A checked cloth."""
    check = ((_ROW // 32) % 2 + (_COLUMN // 32) % 2) / 2
    return _layers(np.clip(1 + 0.12 * fractal(rng, SIZE, (64, 128)), 0.5, 1.5), check.astype(np.float32))


def _rug(rng: np.random.Generator) -> Floats:
    """A border and a medallion."""
    edge = np.maximum(np.abs(_UP), np.abs(_RIGHT))
    middle = np.abs(_UP) + np.abs(_RIGHT)
    pattern = ((edge > 0.8) & (edge < 0.9)) | ((middle * 6).astype(np.intp) % 2 == 0) & (edge < 0.7)
    return _layers(np.clip(1 + 0.12 * fractal(rng, SIZE, (32, 64, 128)), 0.5, 1.5), pattern)


def _books(rng: np.random.Generator) -> Floats:
    """Spines of many widths in two colours, with shadow above the short ones."""
    spine = np.repeat(np.arange(64), rng.integers(2, 8, 64))[:SIZE]
    spine = np.pad(spine, (0, SIZE - len(spine)), mode="edge")
    tone, accent = rng.uniform(0.4, 1.5, 64)[spine], rng.random(64)[spine]
    top = rng.uniform(0.5, 1.0, 64)[spine] * 2 - 1
    return _layers(np.where(top > _UP, tone, 0.15), np.broadcast_to(accent, (SIZE, SIZE)))


def _panel(rng: np.random.Generator) -> Floats:
    """The front of a cupboard or a door: two framed fields over fine grain."""
    field = np.maximum(np.abs(_RIGHT) / 0.7, np.abs(np.abs(_UP) - 0.5) / 0.36)
    grain = value_noise(rng, SIZE, (4, 128)) - 0.5
    return _layers(np.where(np.abs(field - 1) < 0.07, 0.6, 1 + 0.2 * grain).astype(np.float32))


def _canvas(rng: np.random.Generator) -> Floats:
    """A painting: large shapes, a mount, dabs of a brush."""
    shapes = fractal(rng, SIZE, (2, 4, 8))
    mount = np.maximum(np.abs(_UP), np.abs(_RIGHT)) > 0.85
    tone = np.clip(0.9 + 0.5 * (shapes > 0.2) - 0.4 * (shapes < -0.5) + 0.2 * fractal(rng, SIZE), 0.2, 1.7)
    return _layers(
        np.where(mount, 1.6, tone).astype(np.float32), np.clip(2 * fractal(rng, SIZE, (3, 5)), 0, 1)
    )


def _outlook(rng: np.random.Generator) -> Floats:
    """What a window shows: sky above, something dark and green below, glazing bars."""
    skyline = 0.3 * fractal(rng, SIZE, (4, 8, 32))[0] - 0.25
    above = np.clip((_UP - skyline) * 6, 0, 1)
    bar = (np.abs(_RIGHT) < 0.025) | (np.maximum(np.abs(_RIGHT), np.abs(_UP)) > 0.95)
    glow = np.where(bar, 0.0, 0.12 + 0.1 * np.abs(fractal(rng, SIZE)) + above * (0.8 - 0.2 * _UP))
    return _layers(np.where(bar, 1.0, 0.1), 1 - above, glow.astype(np.float32))


def _signboard(rng: np.random.Generator) -> Floats:
    """A ring and a bar, as on traffic signs."""
    edge = np.maximum(np.abs(_UP), np.abs(_RIGHT))
    return _layers(
        np.ones((SIZE, SIZE), np.float32), (edge > 0.8) | ((np.abs(_UP) < 0.2) & (np.abs(_RIGHT) < 0.55))
    )


PATTERNS: Mapping[str, Pattern] = {
    "plain": _plain,
    "rough": _mottled(0.2, (8, 32, 64, 128), patches=0.5),
    "plaster": _mottled(0.12, (4, 8, 16, 128)),
    "leaf": _mottled(0.5, (16, 32, 64, 128), patches=1),
    "grass": _mottled(0.3, (4, 64, 128), patches=1),
    "cloth": _mottled(0.12, (8, 128)),
    "brick": _brick,
    "planks": _planks,
    "tiles": _tiles,
    "facade": _facade,
    "ribbons": _ribbons,
    "stripes": _stripes,
    "weave": _weave,
    "rug": _rug,
    "books": _books,
    "panel": _panel,
    "canvas": _canvas,
    "outlook": _outlook,
    "signboard": _signboard,
}
