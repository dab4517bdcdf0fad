"""Predict a folder of pictures with a trained student.

For each picture NAME it writes NAME-depth.png (16 bits: value / 256 = metres), NAME-labels.png (8 bits: the
class, with its colour) and NAME-overlay.png to look at; predictions.json says how to read them.
"""

from __future__ import annotations

from collections.abc import Sequence

import tyro

from jointdistill.launch.command import carry_out, fill
from jointdistill.launch.predict import PredictOrder, predict_folder


def main(arguments: Sequence[str]) -> None:
    """Predict what the command line names."""
    predict_folder(fill(PredictOrder(tyro.MISSING), __doc__ or "", arguments))


if __name__ == "__main__":
    carry_out(main)
