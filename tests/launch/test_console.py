"""What the console shows of a run's scores."""

from __future__ import annotations

from jointdistill.launch.console import table
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from tests.tasks.normals import Normals


def test_a_task_says_itself_what_a_table_shows_of_it() -> None:
    row = {"near/abs_rel": 0.2345, "facing/mean_angle": 12.0, "parameters": 2e5}
    tasks = {"near": Depth(), "classes": Segmentation(), "facing": Normals()}
    columns = table("", [("student", row)], tasks).columns
    cells = {str(column.header): [*column.cells] for column in columns}
    assert cells["AbsRel"] == ["0.234"] and cells["M par."] == ["0.20"]
    assert cells["mIoU %"] == ["–"]  # no image had a class
    assert cells["mean_angle"] == ["12.000"]
