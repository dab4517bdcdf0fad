"""Row 12: MLflow fails, dawdles, or does its work and its reply is lost. Nothing is missing or double."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jointdistill.launch.run import run
from jointdistill.store.objects import open_store
from jointdistill.types import StepReport
from tests.engine import small
from tests.faults.mlflow_runs import MOODS, Point, Record, Server, Watcher, experiment, launch
from tests.faults.proxy import Proxy

WEATHER = {"500": 0.1, "lost": 0.1, "slow": 0.05, "reset": 0.05}
BATCH = "/api/2.0/mlflow/runs/log-batch"


def as_told(reports: list[StepReport]) -> dict[str, set[Point]]:
    """The series that somebody has who was told all of them."""
    series: dict[str, set[Point]] = {}
    for report in reports:
        for name, value in report.metrics.items():
            series.setdefault(name, set()).add(Point(report.step, value, report.time_ms))
    return series


def test_row_12_a_server_that_stutters_has_every_point_once(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    straight = small.launch(tmp_path).tracking
    run(experiment(tmp_path), launch(tmp_path, straight, "straight"), lambda message: None)
    server, watcher = Server(tmp_path / "server"), Watcher()
    server.start()
    try:
        with Proxy(server.address, WEATHER, seed=1) as proxy:
            run(experiment(tmp_path), launch(tmp_path, proxy.address, "stutters"), watcher)
        found = Record.at(server.address)
    finally:
        server.stop()
    expected = Record.at(straight)
    assert found.series == expected.series
    assert found.pictures == expected.pictures
    assert found.status == "FINISHED"
    told = as_told(watcher.heard)
    for name, points in told.items():  # with the time of the report, however often it was sent
        assert set(found.points[name]) >= points, name
    assert {name: len(points) for name, points in found.points.items() if name in MOODS} == {
        name: len(points) for name, points in expected.points.items() if name in MOODS
    }
    assert not list(open_store(f"{tmp_path}/storage").list("spool"))
    twice = sum((path, fault) == (BATCH, "lost") for _, path, fault in proxy.did)
    assert twice
    hit = sum(fault != "pass" for *_, fault in proxy.did)
    record_property("lost", f"nothing; {hit} faults in {len(proxy.did)} requests, {twice} batches sent twice")
    record_property("recomputed", "nothing")
