"""Random search: no trial learns from another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from jointdistill.search.searchers.base import Search, SearcherRecipe
from jointdistill.search.space import drawn


@dataclass(frozen=True)
class Random(SearcherRecipe):
    """Independent draws that all differ (Bergstra & Bengio, JMLR 2012). They are the same for the same seed,
    so methods can be compared on them."""

    listens: ClassVar[bool] = False

    def trials(self, search: Search) -> int:
        """Fewer where the space has no more points."""
        return len(drawn(search.space, search.trials, search.seed))

    def build(self, search: Search) -> Any:
        """All points, settled before the first trial begins."""
        from ray.tune.search import BasicVariantGenerator

        points = drawn(search.space, search.trials, search.seed)
        return BasicVariantGenerator(points_to_evaluate=points, max_concurrent=search.at_once)
