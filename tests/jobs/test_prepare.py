"""The default data set is drawn once."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import prepare
from jointdistill.data.format import read_card
from jointdistill.store.objects import open_store
from tests.jobs.order import Refused


def test_it_is_drawn_once(tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: Refused) -> None:
    order = ["scenes", "--storage", str(tmp_path), "--processes", "1", "--height", "16", "--width", "32"]
    prepare.main([*order, "--splits.train", "5", "--splits.val", "2"])
    assert "Drawn: 5 train, 2 val images of 16x32" in capsys.readouterr().out
    files = {file: file.read_bytes() for file in (tmp_path / "data" / "scenes").iterdir()}
    assert read_card(open_store(f"{tmp_path}/data/scenes")).splits == {"train": 5, "val": 2}

    prepare.main([*order, "--splits.train", "5", "--splits.val", "2"])
    assert "Already there: 5 train, 2 val images" in capsys.readouterr().out
    said = refused(prepare.main, *order, "--splits.train", "6", "--splits.val", "2")
    assert "holds another data set (splits {'train': 5, 'val': 2}, not {'train': 6, 'val': 2})" in said
    assert {file: file.read_bytes() for file in (tmp_path / "data" / "scenes").iterdir()} == files


def test_the_default_is_the_demos() -> None:
    scenes = prepare.scenes()
    assert (dict(scenes.splits), scenes.height, scenes.width) == ({"train": 1500, "val": 200}, 64, 128)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (["--processes", "-1"], "--processes -1 draws nothing"),
        (["--splits.train", "0"], "asks for 0 scenes"),
        (["--height", "0"], "height 0"),
    ],
)
def test_bad_input(refused: Refused, tmp_path: Path, wrong: list[str], reason: str) -> None:
    assert reason in refused(prepare.main, "scenes", "--storage", f"{tmp_path}/storage", *wrong)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
