"""The 24 classes of the drawn scenes, and the colours that label maps are shown in."""

from __future__ import annotations

_COLOUR: dict[str, tuple[int, int, int]] = {
    # Out of doors, in the colours of Cityscapes where it has the class.
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "car": (0, 0, 142),
    "truck": (0, 60, 100),
    "bicycle": (119, 11, 32),
    # Indoors. As in NYUv2's 13 classes a door counts as wall, a shelf as cabinet, a curtain as window.
    "floor": (200, 170, 130),
    "ceiling": (225, 225, 215),
    "table": (255, 140, 0),
    "chair": (255, 85, 85),
    "bed": (120, 80, 200),
    "cabinet": (139, 90, 43),
    "sofa": (0, 150, 136),
    "picture": (255, 105, 180),
    "window": (130, 220, 255),
    "lamp": (255, 240, 130),
}

CLASSES: tuple[str, ...] = tuple(_COLOUR)
"""A class's place is its value in a label map. `truck` means lorries and buses."""

COLOURS: tuple[tuple[int, int, int], ...] = tuple(_COLOUR.values())
"""One RGB triple a class, 0..255."""

LABEL: dict[str, int] = {name: value for value, name in enumerate(CLASSES)}
