"""Draw a data set and keep it in the storage. What is drawn already stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

from jointdistill.data.drawn import DrawnScenes
from jointdistill.launch.command import carry_out, choose, fill
from jointdistill.launch.prepare import DataOrder, prepare


def scenes() -> DrawnScenes:
    """Streets and rooms with exact depth and 24 classes, at 64x128."""
    return DrawnScenes(splits={"train": 1500, "val": 200}, height=64, width=128)


DATA_SETS = {"scenes": scenes}


def main(arguments: Sequence[str]) -> None:
    """Draw the data set, and say where it lies."""
    name, flags = choose(DATA_SETS, "data set", __doc__ or "", arguments)
    make = DATA_SETS[name]
    prepare(fill(DataOrder(make()), make.__doc__ or "", flags, name))


if __name__ == "__main__":
    carry_out(main)
