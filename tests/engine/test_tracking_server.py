"""The same against MLflow's own server, which is stopped while a run trains and started again."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path

from jointdistill.engine.registry import publish
from jointdistill.store.objects import open_store
from jointdistill.store.registry import model_files
from jointdistill.teachers.registered import Registered
from tests.engine.server import free_port, served
from tests.engine.tracked import report, saved, subject, track


def test_a_server_may_be_away_for_a_while(tmp_path: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"

    def server() -> AbstractContextManager[None]:
        track(tmp_path)  # its database, made beforehand
        command = [
            sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port),
            "--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db",
            "--artifacts-destination", str(tmp_path / "served"),
        ]  # fmt: skip
        return served(command, f"{address}/health", address, tmp_path)

    with server():
        tracking = track(tmp_path, address)
        run = tracking.open("demo-1", subject())
        run.report(report(20))
    run.report(report(40))
    run.picture("strip.png", b"a picture")
    run.report(report(60))
    with server():
        run.report(report(80))
        points = run.client.get_metric_history(run.run_id, "loss/labels/depth")
        assert [point.step for point in points] == [20, 40, 60, 80]
        assert [file.path for file in run.client.list_artifacts(run.run_id, "pictures")]
        assert publish(run, "student", saved()).verdict.champion
        assert model_files("models:/student@champion", address) == saved()
        pinned = Registered("models:/student@champion").pin(open_store(str(tmp_path / "run")), address)
        assert pinned.digest
        run.close("FINISHED")
        assert tracking.finished("demo-1", subject()) is not None
