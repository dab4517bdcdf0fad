from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

from jointdistill.data.cache import build_cache
from jointdistill.data.drawn import DrawnScenes
from jointdistill.data.format import read_card, write_set
from jointdistill.launch import prepare as preparing
from jointdistill.launch.prepare import DataOrder, draw_scenes, prepare
from jointdistill.store.objects import open_store
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation

SCENES = DrawnScenes(splits={"train": 9, "val": 3}, height=16, width=32)


def test_processes_draw_what_one_would(tmp_path: Path) -> None:
    told: list[int] = []
    store = open_store(str(tmp_path / "scenes"))
    card = draw_scenes(store, SCENES, processes=2, progress=told.append)
    assert told == list(range(1, 13))
    rows = {split: map(SCENES.row, SCENES.numbers(split)) for split in SCENES.splits}
    assert write_set(open_store("memory://"), SCENES.card, rows, ["depth", "labels"]) == card
    assert read_card(store) == card
    tasks = {"depth": Depth(), "segmentation": Segmentation().described_by(card)}
    cache = build_cache(store, card, "val", tasks, tmp_path / "cache")
    assert len(cache) == 3
    assert cache.has("depth").all()


def test_as_many_processes_draw_as_the_container_has_cores(tmp_path: Path) -> None:
    with (
        patch.object(preparing, "cores", lambda: 7),
        patch.object(preparing, "draw_scenes", return_value=SCENES.card) as drawing,
    ):
        prepare(DataOrder(SCENES, str(tmp_path)))
        prepare(DataOrder(SCENES, str(tmp_path), processes=3))
    assert [call.args[2] for call in drawing.call_args_list] == [7, 3]
