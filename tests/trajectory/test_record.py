import io

import numpy as np
import pyarrow as pa
import pytest
import torch

from jointdistill.trajectory.arrow import from_bytes, to_bytes
from jointdistill.trajectory.record import Layout, Records
from jointdistill.types import Refusal
from tests.trajectory.scene import TASKS

LAYOUT = Layout.of(TASKS, "decoder", (16, 32), 32)
HANGS_ON = {"data": "a1", "model": "b2"}


def records(images: int) -> Records:
    """Any values that the columns can hold."""
    generator = torch.Generator().manual_seed(images)
    table = Records.empty(LAYOUT, images)
    for name, values in table.tensors.items():
        top = 512 if name == "cell" else 2 if name == "known" else 100
        values.copy_(torch.randint(0, top, values.shape, generator=generator))
    return table


def test_an_empty_table_knows_nothing() -> None:
    table = Records.empty(LAYOUT, 4)
    assert not table.known.any()
    assert not table.attention.any()
    assert table.loss("depth").isnan().all()


def test_rows_are_put_and_found() -> None:
    table, rows = Records.empty(LAYOUT, 9), records(2)
    table.put(torch.tensor([7, 3]), rows)
    found = table[torch.tensor([7, 3])]
    assert all(torch.equal(found.tensors[name], values) for name, values in rows.tensors.items())
    assert not table[torch.tensor([0, 1, 2, 4, 5, 6, 8])].known.any()


def test_arrow_brings_back_every_bit() -> None:
    table = records(5)
    table.tensors["depth.loss"][2] = torch.nan
    back = from_bytes(to_bytes(table, HANGS_ON), LAYOUT, HANGS_ON, "a.arrow")
    assert list(back.tensors) == list(table.tensors)
    for name, values in table.tensors.items():
        assert back.tensors[name].dtype == values.dtype, name
        assert torch.equal(back.tensors[name].nan_to_num(-1), values.nan_to_num(-1)), name


def test_an_image_takes_at_most_400_bytes() -> None:
    assert len(to_bytes(records(795), HANGS_ON)) <= 400 * 795


def test_pandas_reads_the_file() -> None:
    table = records(3)
    frame = pa.ipc.open_file(io.BytesIO(to_bytes(table, HANGS_ON))).read_pandas()
    assert np.stack(frame["cell"]).dtype == np.uint16
    assert np.array_equal(np.stack(frame["cell"]), table.cell.numpy())
    classes = np.stack(frame["segmentation.top_class"]).reshape(3, 32, -1)
    assert np.array_equal(classes, table.columns("segmentation")["top_class"].numpy())
    assert frame["depth.loss"].dtype == np.float16


def test_the_header_says_what_it_is() -> None:
    header = pa.ipc.open_file(io.BytesIO(to_bytes(records(1), HANGS_ON))).schema.metadata
    assert header[b"schema"] == b"1"
    assert b'"grid": [16, 32]' in header[b"layout"]
    assert b'"data": "a1"' in header[b"fingerprints"]


@pytest.mark.parametrize("ours", [{"data": "other"}, {"split": "unheard of"}])
def test_foreign_fingerprints_are_refused(ours: dict[str, str]) -> None:
    with pytest.raises(Refusal, match="hang on another"):
        from_bytes(to_bytes(records(1), HANGS_ON), LAYOUT, ours, "a.arrow")


def test_another_layout_is_refused() -> None:
    other = Layout.of(TASKS, "encoder", (16, 32), 32)
    with pytest.raises(Refusal, match="another layer, grid"):
        from_bytes(to_bytes(records(1), HANGS_ON), other, HANGS_ON, "a.arrow")


def test_damage_is_refused() -> None:
    stored = to_bytes(records(3), HANGS_ON)
    for broken in (b"", b"nothing", stored[: len(stored) // 2]):
        with pytest.raises(Refusal, match="damaged"):
            from_bytes(broken, LAYOUT, HANGS_ON, "a.arrow")


def test_a_file_without_our_header_is_refused() -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"x": [1]})
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(Refusal, match="schema 1"):
        from_bytes(bytes(sink.getvalue()), LAYOUT, HANGS_ON, "a.arrow")


@pytest.mark.parametrize(("grid", "points"), [((300, 300), 32), ((0, 4), 1), ((2, 2), 5), ((2, 2), 0)])
def test_impossible_layouts_are_refused(grid: tuple[int, int], points: int) -> None:
    with pytest.raises(Refusal):
        Layout("decoder", grid, points, {})
