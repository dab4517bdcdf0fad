"""Going on from a snapshot of another run: everything that fits is taken over, and what does not is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from jointdistill.distill.channel_wise import ChannelWise
from jointdistill.engine.branch import go_on_from
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.retention import tidy
from jointdistill.engine.snapshot import Snapshots
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch.run import run
from jointdistill.launch.settle import settle
from jointdistill.launch.work import Note, Outcome
from jointdistill.launch.worker import build
from jointdistill.nets.joint import Joint
from jointdistill.store.objects import open_store
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import Refusal
from jointdistill.weighting.competence import Competence
from jointdistill.weighting.equal import Equal
from tests.engine import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("branch")


def experiment(folder: Path) -> Experiment:
    return replace(
        small.experiment(folder),
        trajectory=(OwnPast(),),
        optimise=Optimise(steps=20, learning_rate=5e-3, ema=0.9),
    )


def go(folder: Path, name: str, notes: list[str] | None = None, **knobs: object) -> Outcome:
    told = replace(small.launch(folder), run=name)

    def watch(message: object) -> None:
        if isinstance(message, Note) and notes is not None:
            notes.append(message.text)

    return run(replace(experiment(folder), **knobs), told, watch)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def first(folder: Path) -> Outcome:
    return go(folder, "first")


def test_with_nothing_changed_it_ends_as_the_first_to_the_bit(folder: Path, first: Outcome) -> None:
    notes: list[str] = []
    again = go(folder, "again", notes, origin="first@10")
    assert again.digest == first.digest
    (said,) = [note for note in notes if note.startswith("Going on from first@000000010-")]
    assert said.endswith("with its student, optimiser, weighting, trajectory 1.")


def test_another_weighting_starts_anew_on_the_old_student(folder: Path, first: Outcome) -> None:
    notes: list[str] = []
    other = go(folder, "other", notes, origin="first@10", weighting=Equal())
    assert other.digest != first.digest
    assert any(note.endswith("with its student, trajectory 1.") for note in notes)


def test_other_knobs_of_the_same_weighting_and_memory_go_on_with_what_it_knows(
    folder: Path, first: Outcome
) -> None:
    notes: list[str] = []
    knobs = {"weighting": Competence(gain=2.0, warmup_steps=5), "trajectory": (OwnPast(gain=0.3),)}
    go(folder, "turned", notes, origin="first@10", **knobs)
    (said,) = [note for note in notes if note.startswith("Going on from first@")]
    assert said.endswith("with its student, optimiser, weighting, trajectory 1.")


def test_another_memory_is_not_taken_over(folder: Path, first: Outcome) -> None:
    notes: list[str] = []
    go(folder, "smaller", notes, origin="first@10", trajectory=(OwnPast(points=8),))
    assert any(note.endswith("with its student, optimiser, weighting.") for note in notes)


def test_connectors_do_not_go_to_the_loss_that_stands_in_their_place(folder: Path) -> None:
    losses = ChannelWise("depth", "decoder"), ChannelWise("segmentation", "decoder")
    go(folder, "connected", distil=losses)
    for distil, taken_over in ((losses, True), (losses[::-1], False)):
        work = settle(replace(experiment(folder), distil=distil), small.launch(folder)).work
        parts = build(work, Ranks(torch.device("cpu")), lambda message: None).parts
        fresh = [parameter.detach().clone() for parameter in parts.objective.parameters()]
        assert len(fresh) == 4  # a weight and a bias each
        go_on_from("connected@10", parts, open_store(work.storage), work.card.fingerprint)
        pairs = zip(parts.objective.parameters(), fresh, strict=True)
        assert any(not torch.equal(now, before) for now, before in pairs) is taken_over


def test_mlflow_knows_where_it_came_from(folder: Path, first: Outcome) -> None:
    go(folder, "known", origin="first@10", seed=1)
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment_id = client.get_experiment_by_name("small").experiment_id
    runs = {found.info.run_name: found for found in client.search_runs([experiment_id])}
    tags, params = runs["known"].data.tags, runs["known"].data.params
    assert tags["jointdistill.from"].startswith("first@000000010-")
    assert tags["jointdistill.from_run"] == runs["first"].info.run_id
    assert params["origin"] == tags["jointdistill.from"]


def test_another_origin_is_another_run(folder: Path, first: Outcome) -> None:
    go(folder, "twice", origin="first@10", weighting=Equal())
    with pytest.raises(Refusal, match=r"'twice' exists and is another one: experiment\.origin"):
        go(folder, "twice", weighting=Equal())


def test_an_origin_is_kept_for_whoever_went_on_from_it(folder: Path, first: Outcome) -> None:
    go(folder, "pinning", origin="first@10", seed=2)
    snapshots = Snapshots(open_store(str(folder / "storage")), "first")
    assert any(name.startswith("000000010-") for name in snapshots.pinned())
    tidy(snapshots, claim=99)
    assert 10 in [manifest.step for manifest in snapshots.manifests()]


@pytest.mark.parametrize(
    ("origin", "knobs", "reason"),
    [
        ("first", {}, "names no snapshot: write RUN@STEP"),
        ("nobody@10", {}, "the run 'nobody' has no snapshot of that step, it has none"),
        ("first@11", {}, "it has those of steps 10, 20"),
        ("first@10", {"student": Joint(width=8, decoder=8)}, "holds another student"),
        ("first@20", {}, "is at step 20 already: raise --optimise.steps"),
    ],
)
def test_an_origin_that_does_not_fit_is_refused(
    folder: Path, first: Outcome, origin: str, knobs: dict[str, object], reason: str
) -> None:
    with pytest.raises(Refusal, match=reason):
        go(folder, "refused", origin=origin, **knobs)


def test_a_damaged_origin_is_refused(folder: Path, first: Outcome) -> None:
    go(folder, "damaged", seed=3)
    for file in (folder / "storage/runs/damaged/snapshots").glob("000000010-*/*.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Refusal, match=r"--from damaged@.* cannot be read"):
        go(folder, "from-damaged", origin="damaged@10")


def test_run_json_tells_the_origin(folder: Path, first: Outcome) -> None:
    go(folder, "told", origin="first@10", seed=4)
    said = json.loads((folder / "storage/runs/told/run.json").read_text())
    assert said["experiment"]["origin"].startswith("first@000000010-")
