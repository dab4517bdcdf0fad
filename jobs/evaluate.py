"""Score a trained network on a split of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from jointdistill.launch.command import carry_out, fill
from jointdistill.launch.evaluate import EvaluateOrder, evaluate_saved


def main(arguments: Sequence[str]) -> None:
    """Score what the command line names."""
    evaluate_saved(fill(EvaluateOrder(), __doc__ or "", arguments))


if __name__ == "__main__":
    carry_out(main)
