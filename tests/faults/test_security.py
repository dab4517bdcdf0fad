"""What an attacker plants is never run, and what must stay secret is never written."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cloudpickle
import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from jobs import evaluate, predict
from jointdistill.data.cache import open_cache
from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch.run import run
from jointdistill.launch.settle import settle
from jointdistill.nets.saved import DESCRIPTION, WEIGHTS, _digest, read_description
from jointdistill.recipe import digest
from jointdistill.store.objects import open_store
from jointdistill.store.sealed import sha256
from jointdistill.trajectory.replayed import MANIFEST
from jointdistill.types import Refusal
from tests.engine import small
from tests.engine.tracked import saved, track, write
from tests.faults import waiting
from tests.faults.mlflow_runs import Server
from tests.faults.oracle import EVERY, Attempts, die_at, end, straight, work
from tests.jobs.order import Refused, small_flags
from tests.trajectory import replays

ROOT = Path(__file__).parents[2]
PLATFORM = ROOT / "platform"


# -- what is planted ---------------------------------------------------------------------------------


class Planted:
    """Bytes that make a file where somebody unpickles them."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker
        code = f"open({str(marker)!r}, 'w').close()"
        self.pickle = pickle.dumps(_Runs(code))
        scratch = marker.with_suffix(".pt")
        torch.save({"weights": _Runs(code)}, scratch)
        self.zip = scratch.read_bytes()
        """The same as `torch.save` writes it."""
        scratch.unlink()
        array = np.array([_Runs(code)], dtype=object)
        scratch = marker.with_suffix(".npy")
        np.save(scratch, array, allow_pickle=True)
        self.npy = scratch.read_bytes()
        scratch.unlink()

    @property
    def all(self) -> list[bytes]:
        return [self.pickle, self.zip, self.npy]

    def arrow(self, table: pa.Table) -> bytes:
        """A table whose first column says that a pickle tells its type, as Arrow's files once could."""
        said = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": self.pickle}
        fields = [table.schema.field(0).with_metadata(said), *list(table.schema)[1:]]
        schema = pa.schema(fields, table.schema.metadata)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(pa.Table.from_arrays(table.columns, schema=schema))
        return bytes(sink.getvalue())


class _Runs:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, (self.code,)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Calls a job that must refuse."""
    return Refused(capsys, monkeypatch)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Planted]:
    mine = Planted(tmp_path / "it-ran")
    yield mine
    assert not mine.marker.exists()


def test_what_is_planted_would_run(tmp_path: Path) -> None:
    """So that the missing file, below, says something."""
    loaders = (
        pickle.loads,
        lambda content: torch.load(_file(tmp_path, content), weights_only=False),
        lambda content: np.load(_file(tmp_path, content), allow_pickle=True),
    )
    for number, load in enumerate(loaders):
        mine = Planted(tmp_path / f"it-ran-{number}")
        load(mine.all[number])
        assert mine.marker.exists()


def _file(folder: Path, content: bytes) -> Path:
    file = folder / "content"
    file.write_bytes(content)
    return file


def resealed(files: dict[str, bytes], weights: bytes) -> dict[str, bytes]:
    """A saved model with other weights whose description vouches for them."""
    model = read_description(files[DESCRIPTION], "it")
    said = json.loads(files[DESCRIPTION]) | {"digest": _digest(model, weights)}
    return {**files, DESCRIPTION: json.dumps(said).encode(), WEIGHTS: weights}


def spoilt_models(files: dict[str, bytes], planted: Planted) -> Iterator[dict[str, bytes]]:
    """With the weights, or the description, replaced; and nothing but what other tools would load."""
    for content in planted.all:
        yield resealed(files, content)
        yield {**files, DESCRIPTION: content}
        yield {"pytorch_model.bin": content, "model.pkl": content, "python_model.pkl": content}


def files_in(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_planted_teacher_is_refused(tmp_path: Path, planted: Planted) -> None:
    experiment, launch = small.experiment(tmp_path), small.launch(tmp_path)
    good = files_in(tmp_path / "teachers" / "depth")
    for number, files in enumerate(spoilt_models(good, planted)):
        folder = write(files, tmp_path / f"planted-{number}")
        (folder / "extra.pkl").write_bytes(planted.pickle)
        teachers = {**experiment.teachers, "depth": replace(experiment.teachers["depth"], model=str(folder))}
        with pytest.raises(Refusal, match=str(folder)) as refused:
            run(replace(experiment, teachers=teachers), launch, lambda message: None)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "storage" / "runs").exists()


def test_a_planted_snapshot_part_is_passed_over(tmp_path: Path, planted: Planted) -> None:
    """Its manifest is sealed anew, so that only the parser stands between."""
    mine = work(tmp_path)
    expected = straight(mine)
    for number, content in enumerate(planted.all):
        attempts = Attempts(replace(mine, run=f"planted-{number}"))
        with waiting.for_snapshots():
            assert not attempts.go(die_at(8))
        store = open_store(mine.storage)
        snapshots = Snapshots(store, attempts.work.run)
        newest = snapshots.manifests()[0]
        assert newest.step == 2 * EVERY
        folder = tmp_path / "storage" / "runs" / attempts.work.run / "snapshots" / newest.name
        (folder / newest.parts[0].file).write_bytes(content)
        part = replace(newest.parts[0], sha256=sha256(content), bytes=len(content))
        (folder / "manifest.json").write_bytes(replace(newest, parts=(part, *newest.parts[1:])).seal())
        assert attempts.go()
        (said,) = [note for note in attempts.notes if note.startswith("Passed over")]
        assert "it is no safetensors file of ours" in said
        assert f"Going on from step {EVERY} of 12." in attempts.notes
        assert expected.differences(end(attempts.work)) == []


def test_a_planted_model_is_refused_by_predict_and_evaluate(
    tmp_path: Path, planted: Planted, refused: Refused
) -> None:
    small.experiment(tmp_path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(np.zeros((16, 24, 3), np.uint8)).save(pictures / "one.png")
    data = str(tmp_path / "storage" / "data" / "small")
    for number, files in enumerate(spoilt_models(saved(), planted)):
        folder = str(write(files, tmp_path / f"planted-{number}"))
        assert folder in refused(predict.main, str(pictures), "--model", folder)
        assert folder in refused(evaluate.main, "--model", folder, "--data", data)
    assert not Path(f"{pictures}-predictions").exists()


def test_a_planted_cache_file_is_refused(tmp_path: Path, planted: Planted) -> None:
    mine = work(tmp_path)
    expected = straight(mine)
    (train,) = (tmp_path / "cache").glob("*-train-*.arrow")
    good = train.read_bytes()
    for content in planted.all:
        train.write_bytes(content)
        with pytest.raises(Refusal, match=f"{train} is no training cache .* delete it"):
            Attempts(replace(mine, run="planted")).go()
    # Arrow's own way to carry a pickle is no longer a way.
    train.write_bytes(planted.arrow(pa.ipc.open_file(good).read_all()))
    assert open_cache(train).keys
    train.unlink()
    attempts = Attempts(
        replace(mine, run="planted"),
    )
    train.write_bytes(good)
    assert attempts.go()
    assert expected.differences(end(attempts.work)) == []


def test_a_planted_trajectory_part_is_passed_over(tmp_path: Path, planted: Planted) -> None:
    store = open_store(str(tmp_path / "storage"))
    said = replays.rows(9)
    name = replays.write(replays.replayed(store), said)
    folder = tmp_path / "storage" / replays.FOLDER / name
    (part,) = folder.glob("*.arrow")
    good = part.read_bytes()
    for content in planted.all:
        plant(folder, part, content)
        found, told = replays.replayed(store).look()
        assert found == {}
        assert told["passed"] == [
            f"Passed over the records in {replays.FOLDER}/{name}: it is no Arrow file or is damaged."
        ]
    plant(folder, part, planted.arrow(pa.ipc.open_file(good).read_all()))
    found, _ = replays.replayed(store).look()
    assert torch.equal(found["image"], said.image)


def plant(folder: Path, part: Path, content: bytes) -> None:
    """Replace a part, and seal its manifest anew."""
    part.write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    del manifest["sha256"]
    manifest["parts"][0] |= {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (folder / MANIFEST).write_text(json.dumps({**manifest, "sha256": digest(manifest)}))


# -- what no module may call -------------------------------------------------------------------------

FORBIDDEN = {
    "torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter", "pickle.load",
    "pickle.loads", "pickle.Unpickler", "cloudpickle.load", "cloudpickle.loads", "pandas.read_pickle",
    "mlflow.pyfunc.load_model", "mlflow.pyfunc.load_pyfunc", "yaml.load", "yaml.unsafe_load", "eval", "exec",
}  # fmt: skip
ROOMS = ("joblib", "dill", "shelve", "marshal", "mlflow.pytorch")
"""Modules that nobody imports at all."""


def calls(tree: ast.AST) -> Iterator[tuple[int, str, ast.Call]]:
    """Line, full name and node of every call whose name an import explains."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        if isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            first, dot, rest = called.partition(".")
            yield node.lineno, names.get(first, first) + dot + rest, node


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offences(tree: ast.AST) -> list[str]:
    found = [
        f"imports {name}"
        for name in imports(tree)
        if f"{name}.".startswith(tuple(f"{room}." for room in ROOMS))
    ]
    for line, called, node in calls(tree):
        allows = [key for key in node.keywords if key.arg == "allow_pickle"]
        pickles = any(not isinstance(key.value, ast.Constant) or key.value.value for key in allows)
        if called in FORBIDDEN or pickles:
            found.append(f"line {line} calls {called}")
    return found


def test_no_module_unpickles_or_runs_what_it_reads() -> None:
    files = [*PLATFORM.rglob("*.py"), *(ROOT / "jobs").glob("*.py")]
    assert len(files) > 100
    found = {str(file.relative_to(ROOT)): offences(ast.parse(file.read_text())) for file in files}
    assert {file: said for file, said in found.items() if said} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.load(file)",
        "from torch import load as get\nget(file)",
        "from pickle import loads\nloads(content)",
        "import numpy as np\nnp.load(file, allow_pickle=True)",
        "import numpy as np\nnp.load(file, allow_pickle=anything)",
        "def lazily():\n    import mlflow.pyfunc as served\n    served.load_model(uri)",
        "import joblib",
        "from mlflow import pytorch",
    ],
)
def test_each_way_around_is_seen(code: str) -> None:
    assert offences(ast.parse(code))


# -- secrets -----------------------------------------------------------------------------------------

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "planted-secret-of-s3",
    "AWS_SESSION_TOKEN": "planted-secret-of-a-session",
    "MLFLOW_TRACKING_PASSWORD": "planted-secret-of-mlflow",
}
IN_THE_ADDRESS = "planted-secret-of-the-address"


def leaks(content: bytes) -> list[str]:
    return [secret for secret in (*SECRETS.values(), IN_THE_ADDRESS) if secret.encode() in content]


def refuse_leaks(folder: Path) -> None:
    """No byte of any file, of any name in it, is a secret's."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    assert [(str(file), found) for file in files if (found := leaks(file.read_bytes() + bytes(file)))] == []


def distil(order: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    }
    known = {**SECRETS, "AWS_ACCESS_KEY_ID": "somebody", "MLFLOW_TRACKING_USERNAME": "me", **environment}
    command = [sys.executable, "jobs/distill.py", "scenes", *order]
    return subprocess.run(
        command, cwd=ROOT, env=kept | known | {"PYTHONPATH": f"platform{os.pathsep}."}, capture_output=True,
        timeout=200, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    mine = Server(tmp_path_factory.mktemp("mlflow"))
    mine.start()
    yield mine
    mine.stop()


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.ray)])
def test_a_secret_is_nowhere_once_a_run_is_finished(tmp_path: Path, server: Server, workers: int) -> None:
    address = server.address.replace("//", f"//me:{IN_THE_ADDRESS}@")
    order = [
        *small_flags(tmp_path), "--workers", str(workers), "--tracking", address,
        "--storage", f"{tmp_path}/storage", "--register", "student",
    ]  # fmt: skip
    done = distil(order)
    assert done.returncode == 0, done.stderr.decode()
    assert leaks(done.stdout + done.stderr) == []
    assert (tmp_path / "storage" / "runs").exists()
    refuse_leaks(tmp_path)
    refuse_leaks(server.folder)  # database, artifacts and the server's own log


def test_a_secret_is_not_in_what_a_refusal_says(tmp_path: Path) -> None:
    order = [*small_flags(tmp_path), "--workers", "0", "--storage", f"{tmp_path}/storage"]
    away = f"http://me:{IN_THE_ADDRESS}@127.0.0.1:9"
    done = distil([*order, "--tracking", away, "--tracking-wait-s", "2"])
    assert done.returncode == 2
    assert b"does not answer: waiting up to 2 s" in done.stdout + done.stderr
    assert b"failed" in done.stderr
    assert leaks(done.stdout + done.stderr) == []
    refuse_leaks(tmp_path)


def test_a_secret_does_not_travel_to_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**SECRETS, "AWS_ACCESS_KEY_ID": "somebody", "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    track(tmp_path)
    launch = replace(small.launch(tmp_path), tracking=f"http://me:{IN_THE_ADDRESS}@127.0.0.1:9")
    found = settle(small.experiment(tmp_path), launch).work
    assert leaks(cloudpickle.dumps(found)) == []
    assert leaks(cloudpickle.dumps(open_store("s3://bucket/below"))) == []
    assert leaks(repr(found).encode()) == []


def test_a_secret_that_opens_a_bucket_does_not_lie_in_it(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = replace(
        small.launch(tmp_path), storage=bucket, data=str(tmp_path / "storage" / "data" / "small")
    )
    run(small.experiment(tmp_path), launch, lambda message: None)
    store, secret = open_store(bucket), os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    keys = [*store.list()]
    assert any(key.endswith("result.json") for key in keys)
    assert [key for key in keys if secret in key.encode() + store.get(key)] == []
    assert secret not in cloudpickle.dumps(store)
