"""Row 11: MLflow is away: at the start, for a while, to the end. Training goes on, and nothing is lost."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jointdistill.engine.tracking import Tracking
from jointdistill.launch.run import run
from jointdistill.store.objects import open_store
from tests.engine import small
from tests.faults.mlflow_runs import STEPS, Record, Server, Watcher, experiment, launch
from tests.faults.proxy import Proxy

AWAY_S = 10.0
LONGEST_S = 30.0
"""Between two reports of training, however MLflow behaves."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    mine = Server(tmp_path)
    yield mine
    mine.stop()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """What MLflow has of a straight run."""
    folder = tmp_path_factory.mktemp("straight")
    address = small.launch(folder).tracking
    run(experiment(folder), launch(folder, address, "straight"), lambda message: None)
    straight = Record.at(address)
    assert straight.status == "FINISHED"
    assert [step for step, _ in straight.series["learning_rate"]] == list(range(10, STEPS + 1, 10))
    return straight


def the_same(found: Record, expected: Record) -> None:
    """Every series, one row a step, and the picture."""
    assert found.series == expected.series
    assert found.pictures == expected.pictures
    assert found.status == "FINISHED"


def spooled(folder: Path) -> list[str]:
    return list(open_store(str(folder / "storage")).list("spool"))


def test_row_11_mlflow_may_be_away_for_a_while(
    tmp_path: Path, server: Server, expected: Record, record_property: Callable[[str, object], None]
) -> None:
    server.start()
    back = threading.Thread(target=lambda: (time.sleep(AWAY_S), server.start()))
    in_the_spool: list[int] = []

    def then(step: int) -> None:
        if step == 30:
            server.stop()
            back.start()
        in_the_spool.append(len(spooled(tmp_path)))

    watcher = Watcher(then, pause_s=2.0)
    run(experiment(tmp_path), launch(tmp_path, server.address, "away"), watcher)
    back.join()
    assert max(in_the_spool) > 3
    assert spooled(tmp_path) == []
    the_same(Record.at(server.address), expected)
    assert watcher.longest_s < LONGEST_S
    record_property("lost", f"nothing; up to {max(in_the_spool)} entries waited in the spool")
    record_property("recomputed", f"nothing; the longest pause in training was {watcher.longest_s:.1f} s")


@pytest.mark.slow
def test_row_11_mlflow_may_hang_for_a_while(
    tmp_path: Path, server: Server, expected: Record, record_property: Callable[[str, object], None]
) -> None:
    """It takes connections and answers after its clients' patience, which is the worst it can do."""
    server.start()
    with Proxy(server.address, slow_s=60) as proxy:
        proxy.calm()
        well = threading.Timer(AWAY_S + 2, proxy.calm)

        def then(step: int) -> None:
            if step == 30:
                proxy.always("slow")
                well.start()

        watcher = Watcher(then, pause_s=1.0)
        run(experiment(tmp_path), launch(tmp_path, proxy.address, "hangs"), watcher)
        well.join()
        assert proxy.met("slow")
    assert spooled(tmp_path) == []
    the_same(Record.at(server.address), expected)
    assert watcher.longest_s < LONGEST_S
    record_property("lost", "nothing")
    record_property("recomputed", f"nothing; the longest pause in training was {watcher.longest_s:.1f} s")


def test_row_11_an_outage_to_the_end_is_told_and_made_up_for(
    tmp_path: Path,
    server: Server,
    expected: Record,
    caplog: pytest.LogCaptureFixture,
    record_property: Callable[[str, object], None],
) -> None:
    server.start()
    how = launch(tmp_path, server.address, "away")
    first = run(experiment(tmp_path), how, Watcher(lambda step: server.stop() if step == 30 else None))
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    waiting = spooled(tmp_path)
    (folder,) = {key.rsplit("/", 2)[0] for key in waiting if "/points/" in key}
    assert f"{len(waiting)} entries wait in {tmp_path}/storage/{folder}" in said
    assert "Start the same run again" in said
    server.start()
    again = Watcher()
    assert run(experiment(tmp_path), how, again) == first
    assert again.heard == []  # nothing was trained again
    assert spooled(tmp_path) == []
    the_same(Record.at(server.address), expected)
    record_property("lost", f"nothing; {len(waiting)} entries waited in the spool")
    record_property("recomputed", "nothing: the run was finished, and only told")


def test_row_11_a_server_that_comes_up_late_is_waited_for(
    tmp_path: Path, server: Server, record_property: Callable[[str, object], None]
) -> None:
    late = threading.Thread(target=lambda: (time.sleep(AWAY_S), server.start()))
    late.start()
    told: list[str] = []
    began = time.monotonic()
    tracking = Tracking.at(
        server.address, "late", open_store(str(tmp_path / "storage")), patience_s=90, say=told.append
    )
    waited_s = time.monotonic() - began
    late.join()
    assert waited_s >= AWAY_S
    assert told == [f"MLflow at {server.address} does not answer: waiting up to 90 s for it."]
    assert tracking.experiment_id
    record_property("lost", "nothing")
    record_property("recomputed", f"nothing; the start waited {waited_s:.0f} s")
