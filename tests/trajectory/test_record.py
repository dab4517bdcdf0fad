import io
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch

from jointdistill.trajectory.arrow import from_bytes, to_bytes
from jointdistill.trajectory.record import Layout, Records
from jointdistill.types import Refusal
from tests.trajectory.replays import LAYOUT, rows
from tests.trajectory.scene import TASKS

HANGS_ON = {"data": "a1", "model": "b2"}


def test_an_empty_table_knows_nothing() -> None:
    table = Records.empty(LAYOUT, 4)
    assert not table.known.any()
    assert not table.attention.any()
    assert table.loss("depth").isnan().all()


def test_rows_are_put_and_found() -> None:
    table, two = Records.empty(LAYOUT, 9), rows(2).records
    table.put(torch.tensor([7, 3]), two)
    found = table[torch.tensor([7, 3])]
    assert all(torch.equal(found.tensors[name], values) for name, values in two.tensors.items())
    assert not table[torch.tensor([0, 1, 2, 4, 5, 6, 8])].known.any()


@pytest.mark.parametrize("images", [5, 0])
def test_arrow_brings_back_every_bit(images: int) -> None:
    some = rows(images)
    some.records.tensors["depth.loss"][2:3] = torch.nan
    image, back = from_bytes(to_bytes(some, HANGS_ON), LAYOUT, HANGS_ON)
    assert torch.equal(image, some.image)
    assert list(back.tensors) == list(some.records.tensors)
    for name, values in some.records.tensors.items():
        assert back.tensors[name].dtype == values.dtype, name
        assert torch.equal(back.tensors[name].nan_to_num(-1), values.nan_to_num(-1)), name


@pytest.mark.parametrize("images", [795, 2975])
def test_an_image_takes_at_most_400_bytes(images: int) -> None:
    assert len(to_bytes(rows(images), HANGS_ON)) <= 400 * images


def test_pandas_reads_the_file() -> None:
    some = rows(3)
    frame = pa.ipc.open_file(io.BytesIO(to_bytes(some, HANGS_ON))).read_pandas()
    assert frame["image"].tolist() == some.image.tolist()
    assert np.stack(frame["cell"]).dtype == np.uint16
    assert np.array_equal(np.stack(frame["cell"]), some.records.cell.numpy())
    classes = np.stack(frame["segmentation.top_class"]).reshape(3, 32, -1)
    assert np.array_equal(classes, some.records.columns("segmentation")["top_class"].numpy())
    assert frame["depth.loss"].dtype == np.float16


def test_the_header_says_what_it_is() -> None:
    header = pa.ipc.open_file(io.BytesIO(to_bytes(rows(1), HANGS_ON))).schema.metadata
    assert header[b"schema"] == b"2"
    assert b'"grid": [16, 32]' in header[b"layout"]
    assert b'"data": "a1"' in header[b"fingerprints"]


@pytest.mark.parametrize("ours", [{"data": "other"}, {"split": "unheard of"}])
def test_foreign_fingerprints_are_no_match(ours: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="hangs on another"):
        from_bytes(to_bytes(rows(1), HANGS_ON), LAYOUT, ours)


def test_another_layout_is_no_match() -> None:
    other = Layout.of(TASKS, "encoder", (16, 32), 32)
    with pytest.raises(ValueError, match="another layer, grid"):
        from_bytes(to_bytes(rows(1), HANGS_ON), other, HANGS_ON)


def test_damage_is_noticed() -> None:
    stored = to_bytes(rows(3), HANGS_ON)
    for broken in (b"", b"nothing", stored[: len(stored) // 2], pickle.dumps(stored)):
        with pytest.raises(ValueError, match="damaged"):
            from_bytes(broken, LAYOUT, HANGS_ON)


def test_a_file_without_our_header_is_no_match() -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"x": [1]})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueError, match="schema 2"):
        from_bytes(bytes(sink.getvalue()), LAYOUT, HANGS_ON)


@pytest.mark.parametrize("change", ["left out", "twice", "of another type"])
def test_columns_are_those_that_the_header_promises(change: str) -> None:
    table = pa.ipc.open_file(to_bytes(rows(2), HANGS_ON)).read_all()
    place = table.column_names.index("known")
    if change == "twice":
        table = table.append_column("known", table["known"])
    elif change == "of another type":
        table = table.set_column(place, "known", pa.array(["yes", "no"]))
    else:
        table = table.remove_column(place)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ValueError, match="other columns than its header says"):
        from_bytes(bytes(sink.getvalue()), LAYOUT, HANGS_ON)


@pytest.mark.parametrize(("grid", "points"), [((300, 300), 32), ((0, 4), 1), ((2, 2), 5), ((2, 2), 0)])
def test_impossible_layouts_are_refused(grid: tuple[int, int], points: int) -> None:
    with pytest.raises(Refusal):
        Layout("decoder", grid, points, {})
