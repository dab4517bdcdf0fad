"""A model that was trained here, as a teacher: pinned, rebuilt, replayed, and refused where it must be."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jointdistill.nets import saved as saved_files
from jointdistill.nets.joint import at_size
from jointdistill.nets.saved import load, read_description
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.tasks.depth import Depth
from jointdistill.teachers.registered import Registered
from jointdistill.types import Refusal
from tests.engine.tracked import TASKS, saved, subject, track, with_way, write
from tests.tasks.normals import Normals
from tests.teachers.scene import batch_of

NOWHERE = "sqlite:///nowhere.db"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "run"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(with_way(saved()), tmp_path / "model")


def test_pinning_copies_everything_and_building_needs_nothing_else(folder: Path, store: Store) -> None:
    (folder / "a-note-of-the-user.txt").write_text("not ours")
    pinned = Registered(str(folder)).pin(store, NOWHERE)
    assert sorted(store.list("teachers")) == [
        f"teachers/{pinned.digest}/{file}" for file in sorted(with_way(saved()))
    ]
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    teacher = pinned.build(TASKS, store)
    _, network = load(saved(), "reference")
    network.eval()
    expected = network(batch_of().image)
    assert torch.equal(teacher(batch_of()).answers["depth"], expected.answers["depth"])
    assert pinned.pin(store, NOWHERE) == pinned


def test_its_card_is_what_the_model_says(folder: Path, store: Store) -> None:
    card = Registered(str(folder)).pin(store, NOWHERE).build(TASKS, store).card
    assert (card.height, card.width, card.data) == (16, 24, "data-fingerprint")
    assert card.mean == (0.45, 0.45, 0.45)
    assert card.scores["depth/abs_rel"] == 0.20


def test_it_sees_images_at_the_size_it_was_trained_at(folder: Path, store: Store) -> None:
    teacher = Registered(str(folder)).pin(store, NOWHERE).build(TASKS, store)
    large = batch_of(height=32, width=48)
    small = replace(large, image=at_size(large.image, 16, 24))
    assert not torch.equal(small.image, large.image[..., ::2, ::2])
    assert torch.equal(teacher(large).answers["depth"], teacher(small).answers["depth"])


def test_scores_of_another_range_are_not_its_own(folder: Path, store: Store) -> None:
    near = {"depth": Depth(max_m=5.0), "segmentation": TASKS["segmentation"]}
    card = Registered(str(folder)).pin(store, NOWHERE).build(near, store).card
    assert card.scores == {"segmentation/miou": 0.50}


def test_it_teaches_what_it_is_asked_for(folder: Path, store: Store) -> None:
    pinned = Registered(str(folder)).pin(store, NOWHERE)
    teacher = pinned.build({"depth": Depth()}, store)
    assert tuple(teacher(batch_of()).answers) == teacher.card.tasks == ("depth",)
    with pytest.raises(Refusal, match="does depth, segmentation, which is none of the tasks normals"):
        pinned.build({"normals": Normals()}, store)


def test_its_way_can_be_walked_again(folder: Path, store: Store) -> None:
    teacher = Registered(str(folder)).pin(store, NOWHERE).build(TASKS, store)
    assert [(moment.step, moment.losses["depth"]) for moment in teacher.way] == [(2, 0.5), (8, 0.125)]
    finished = teacher(batch_of()).answers["depth"]
    then = [teacher.at(moment)(batch_of()).answers["depth"] for moment in teacher.way]
    assert not torch.equal(then[0], then[1])
    assert not torch.equal(then[1], finished)
    assert torch.equal(teacher(batch_of()).answers["depth"], finished)


def test_an_anchor_that_is_damaged_on_the_store_is_refused(folder: Path, store: Store) -> None:
    teacher = Registered(str(folder)).pin(store, NOWHERE).build(TASKS, store)
    key = f"teachers/{teacher.card.digest}/{teacher.way[0].file}"
    store.delete(key)
    store.put(key, b"another network")
    with pytest.raises(Refusal, match="step 2"):
        teacher.at(teacher.way[0])


def test_an_anchor_that_is_missing_is_refused(folder: Path, store: Store) -> None:
    (folder / "anchors" / "000000008.safetensors").unlink()
    with pytest.raises(Refusal, match=r"anchor of .* at step 8 is missing"):
        Registered(str(folder)).pin(store, NOWHERE)


def test_the_registrys_champion_is_pinned_by_its_digest(tmp_path: Path, store: Store) -> None:
    from jointdistill.engine.registry import publish

    tracking = track(tmp_path)
    publish(tracking.open("demo-1", subject()), "expert", with_way(saved()))
    pinned = Registered("models:/expert@champion").pin(store, tracking.address)
    assert pinned.digest == read_description(saved()["model.json"], "reference").digest
    assert len(pinned.build(TASKS, store).way) == 2
    publish(tracking.open("demo-2", subject(2)), "expert", saved(2, {"depth/abs_rel": 0.1}))
    # The alias may move on; the run that pinned it asks no registry any more.
    assert pinned.pin(store, NOWHERE) == pinned
    with pytest.raises(Refusal, match="has the digest"):
        replace(pinned, digest="0" * 64).pin(store, tracking.address)
    for address in ("models:/expert@nobody", "models:/nobody@champion", "models:/expert/9"):
        with pytest.raises(Refusal, match=rf"no model '{address}'.*`python jobs/teach.py`"):
            Registered(address).pin(store, tracking.address)


def test_workers_do_not_import_mlflow() -> None:
    code = "import sys, jointdistill.teachers.registered; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- refusals ----------------------------------------------------------------------------------------


def test_what_was_never_pinned_is_refused(folder: Path, store: Store) -> None:
    with pytest.raises(Refusal, match="does not lie in the run's store"):
        Registered(str(folder)).build(TASKS, store)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, store: Store) -> None:
    with pytest.raises(Refusal, match="There is no folder"):
        Registered(str(tmp_path / "nobody")).pin(store, NOWHERE)
    assert not (tmp_path / "nobody").exists()


def test_damaged_weights_are_refused(folder: Path, store: Store) -> None:
    weights = folder / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(Refusal, match="is not what was saved"):
        Registered(str(folder)).pin(store, NOWHERE)


def test_weights_changed_in_the_store_are_refused(folder: Path, store: Store, tmp_path: Path) -> None:
    pinned = Registered(str(folder)).pin(store, NOWHERE)
    weights = tmp_path / "run" / "teachers" / pinned.digest / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(Refusal, match="is not what was saved"):
        pinned.build(TASKS, store)


def test_another_model_in_its_place_is_refused(folder: Path, store: Store, tmp_path: Path) -> None:
    pinned = Registered(str(folder)).pin(store, NOWHERE)
    write(saved(seed=9), tmp_path / "run" / "teachers" / pinned.digest)
    with pytest.raises(Refusal, match="is another one"):
        pinned.build(TASKS, store)


class Trap:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_a_pickle_planted_as_weights_is_never_opened(folder: Path, store: Store, tmp_path: Path) -> None:
    planted = pickle.dumps(Trap(tmp_path / "trace"))
    (folder / "weights.safetensors").write_bytes(planted)
    with pytest.raises(Refusal, match="is not what was saved"):
        Registered(str(folder)).pin(store, NOWHERE)
    # Nor where its digest was made to fit.
    said = json.loads((folder / "model.json").read_text())
    model = read_description((folder / "model.json").read_bytes(), "reference")
    said["digest"] = saved_files._digest(model, planted)
    (folder / "model.json").write_text(json.dumps(said))
    with pytest.raises(Refusal, match="do not fit their description"):
        Registered(str(folder)).pin(store, NOWHERE)
    assert not (tmp_path / "trace").exists()


def test_a_task_that_this_version_does_not_know_is_refused(folder: Path, store: Store) -> None:
    said = json.loads((folder / "model.json").read_text())
    said["tasks"]["depth"]["recipe"] = "Telepathy"
    (folder / "model.json").write_text(json.dumps(said))
    with pytest.raises(Refusal, match="no recipe 'Telepathy'"):
        Registered(str(folder)).pin(store, NOWHERE)


def test_other_classes_are_named(folder: Path, store: Store) -> None:
    pinned = Registered(str(folder)).pin(store, NOWHERE)
    fewer = replace(TASKS["segmentation"], classes=("sky", "road"), colours=())
    with pytest.raises(Refusal, match="class 2 is 'tree' for it and missing in the data's card"):
        pinned.build({"segmentation": fewer}, store)
