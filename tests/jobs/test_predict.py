"""A folder of pictures goes in; depth, labels and overlays come out, or nothing does."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jobs import predict
from jointdistill.launch.answer_files import answer_files
from jointdistill.nets.saved import load
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from tests.engine.tracked import TASKS, saved, write
from tests.jobs.order import Refused
from tests.tasks.normals import Normals

SIZE = (16, 24)
"""Height and width that the saved network was trained at."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(saved(), tmp_path / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """One picture of each kind, of different sizes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    colour.save(folder / "exact.png")
    colour.resize((90, 31)).save(folder / "wide.JPG", "JPEG")
    colour.convert("RGBA").resize((7, 50)).save(folder / "tall.webp")
    colour.convert("L").save(folder / "grey.png")
    colour.quantize(8).save(folder / "palette.png", transparency=b"\x00\x7f")
    (folder / "notes.txt").write_text("not a picture")
    return folder


def opened(file: Path | BytesIO) -> Image.Image:
    with Image.open(file) as picture:
        picture.load()
    return picture


def test_answers_are_those_of_the_network(model: Path, pictures: Path) -> None:
    predict.main([str(pictures), "--model", str(model)])
    made = Path(f"{pictures}-predictions")
    _, network = load(saved(), "reference")
    image = torch.tensor(np.asarray(opened(pictures / "exact.png"))).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        answers = network.eval()(image).answers
    full = {
        name: torch.nn.functional.interpolate(answer, SIZE, mode="bilinear")
        for name, answer in answers.items()
    }
    depth = opened(made / "exact-depth.png")
    assert depth.mode == "I;16"
    assert depth.text == {"Description": "Depth: value / 256 = metres, 0 = unknown"}
    np.testing.assert_allclose(np.asarray(depth) / 256, full["depth"][0, 0], atol=0.5 / 256 + 1e-4)
    labels = opened(made / "exact-labels.png")
    assert labels.mode == "P"
    assert labels.getpalette()[:9] == [level for colour in TASKS["segmentation"].colours for level in colour]
    assert (np.asarray(labels) == full["segmentation"][0].argmax(0).numpy()).all()


def test_every_kind_of_picture_is_answered_at_its_size(model: Path, pictures: Path, tmp_path: Path) -> None:
    made = tmp_path / "deep" / "made"
    predict.main([str(pictures), "--model", str(model), "--output", str(made)])
    report = json.loads((made / "predictions.json").read_text())
    assert [entry["image"] for entry in report["images"]] == [
        "exact.png", "grey.png", "palette.png", "tall.webp", "wide.JPG"
    ]  # fmt: skip
    for entry in report["images"]:
        size = opened(pictures / entry["image"]).size
        assert opened(made / entry["depth"]).size == opened(made / entry["labels"]).size == size
        assert opened(made / entry["overlay"]).size == (2 * size[0] + 2, size[1])
    assert report["tasks"]["depth"] == {
        "files": "*-depth.png",
        "unit": "metre",
        "steps_a_unit": 256,
        "unknown": 0,
    }
    assert report["tasks"]["segmentation"]["classes"] == ["sky", "road", "tree"]
    listed = {name for entry in report["images"] for name in entry.values()} | {"predictions.json"}
    assert {file.name for file in made.iterdir()} == listed - {entry["image"] for entry in report["images"]}


def test_a_picture_is_turned_upright(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "phone"
    folder.mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # orientation: a quarter turn
    Image.new("RGB", (40, 20)).save(folder / "one.jpg", exif=turned)
    predict.main([str(folder), "--model", str(model)])
    assert opened(tmp_path / "phone-predictions" / "one-depth.png").size == (20, 40)


def test_the_overlay_mixes_labels_into_the_image_and_shows_depth_beside_it() -> None:
    image = torch.full((3, 2, 4), 100, dtype=torch.uint8)
    answers = {"depth": torch.full((1, 2, 4), 3.0), "segmentation": torch.ones(2, 4, dtype=torch.long)}
    tasks = {"depth": Depth(), "segmentation": Segmentation(("a", "b"), ((0, 0, 0), (200, 0, 50)))}
    shown = np.asarray(opened(BytesIO(answer_files(image, answers, tasks)["overlay.png"])))
    assert (shown[:, :4] == [150, 50, 75]).all()
    assert (shown[:, 6:] == Depth().draw(answers["depth"][None])[0, :, 0, 0].numpy()).all()


def test_a_task_of_any_kind_has_its_answer_written() -> None:
    answers = {"normals": torch.rand(3, 2, 4)}
    files = answer_files(torch.zeros(3, 2, 4, dtype=torch.uint8), answers, {"normals": Normals()})
    column = Normals().column
    np.testing.assert_array_equal(np.load(BytesIO(files[f"{column}.npy"])), answers["normals"].numpy())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.png", b"\x89PNG\r\n\x1a\n", "is no whole PNG, JPEG or WebP image"),
        ("text.jpg", b"hello", "is no whole PNG, JPEG or WebP image"),
        ("exact.jpg", b"", "differ by their ending only"),
    ],
)
def test_a_picture_that_cannot_be_used(
    refused: Refused, model: Path, pictures: Path, name: str, content: bytes, reason: str
) -> None:
    (pictures / name).write_bytes(content)
    said = refused(predict.main, str(pictures), "--model", str(model))
    assert reason in said
    assert name in said
    assert not Path(f"{pictures}-predictions").exists()


def test_16_bits_are_refused(refused: Refused, model: Path, pictures: Path) -> None:
    Image.fromarray(np.full(SIZE, 4000, np.uint16)).save(pictures / "deep.png")
    said = refused(predict.main, str(pictures), "--model", str(model))
    assert f"{pictures}/deep.png has 16 bits a channel" in said


def test_a_bomb_is_refused(
    refused: Refused, model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    assert "wide.JPG has more than 2,000 pixels" in refused(
        predict.main, str(pictures), "--model", str(model)
    )


def test_an_output_that_holds_something_is_left_alone(
    refused: Refused, model: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("mine")
    order = (str(pictures), "--model", str(model), "--output")
    assert "is there already" in refused(predict.main, *order, f"{tmp_path}/mine")
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["precious"]
    said = refused(predict.main, *order, f"{tmp_path}/mine/precious/below")
    assert "cannot be written" in said


def test_what_is_not_there(refused: Refused, model: Path, pictures: Path, tmp_path: Path) -> None:
    assert "There is no folder" in refused(predict.main, f"{tmp_path}/nope", "--model", str(model))
    (tmp_path / "empty").mkdir()
    assert "There is no PNG" in refused(predict.main, f"{tmp_path}/empty", "--model", str(model))
    said = refused(predict.main, str(pictures), "--storage", f"{tmp_path}/storage")
    assert "There is no model 'models:/student@champion'" in said
    assert not (tmp_path / "storage").exists()


def test_nothing_stays_of_a_run_that_is_interrupted(
    model: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> dict[str, bytes]:
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr("jointdistill.launch.predict.answer_files", interrupt)
    with pytest.raises(KeyboardInterrupt):
        predict.main([str(pictures), "--model", str(model)])
    assert sorted(tmp_path.iterdir()) == before
