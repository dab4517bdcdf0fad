"""Row 6: the store answers 5xx, says SlowDown, resets, cuts, dawdles, or is away. Nothing of it is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jointdistill.engine.snapshot import Snapshots
from jointdistill.launch.run import run
from jointdistill.store.base import Store
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal
from tests.engine import small
from tests.faults import waiting
from tests.faults.dying import DyingStore
from tests.faults.oracle import Attempts, End, end, straight, work
from tests.faults.proxy import FAULTS, Proxy
from tests.services.rgw import Rgw

WEATHER = dict.fromkeys(FAULTS, 0.3 / len(FAULTS))
"""Three requests of ten meet one."""
PATIENCE_S = 1.0
RUN = "weather"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weather")


@pytest.fixture(scope="module")
def expected(folder: Path) -> End:
    return straight(work(folder))


@pytest.fixture
def direct(bucket: str) -> Store:
    """The bucket, past the proxy."""
    return open_store(bucket)


@pytest.fixture
def attempts(folder: Path, bucket: str, direct: Store) -> Attempts:
    """The run on object storage, where its teachers lie too."""
    mine = work(folder)
    here = open_store(mine.storage)
    for key in here.list("teachers"):
        direct.put(key, here.get(key))
    return Attempts(replace(mine, storage=bucket, run=RUN))


@pytest.fixture
def proxy(rgw: Rgw, direct: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Between this process and the bucket; calm until a test says otherwise."""
    with Proxy(rgw.endpoint, WEATHER, seed=6, slow_s=0.2) as between:
        between.calm()
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.address)
        yield between


@pytest.fixture(autouse=True)
def steps_that_wait() -> Iterator[None]:
    with waiting.for_snapshots():
        yield


def storms(proxy: Proxy) -> None:
    """From now on the schedule holds."""
    proxy.always("pass", times=0)


def whole(store: Store) -> int:
    """How many snapshots there are; each has all its parts, and nothing else has a manifest."""
    snapshots = Snapshots(store, RUN)
    manifests = [
        snapshots.manifest(folder) for folder, has_manifest in snapshots.names().items() if has_manifest
    ]
    for manifest in manifests:
        assert snapshots.read(manifest).step == manifest.step
    assert snapshots.skipped == []
    return len(manifests)


def told(proxy: Proxy) -> str:
    hit = sum(proxy.met(fault) for fault in FAULTS)
    return f"{hit} faults in {len(proxy.did)} requests"


def test_row_6_a_run_in_bad_weather_is_a_straight_one(
    attempts: Attempts,
    expected: End,
    direct: Store,
    proxy: Proxy,
    record_property: Callable[[str, object], None],
) -> None:
    storms(proxy)
    assert attempts.go()
    proxy.calm()
    assert sum(proxy.met(fault) > 0 for fault in FAULTS) >= 4
    assert expected.differences(end(attempts.work)) == []
    assert whole(direct) == 4
    record_property("lost", f"nothing; {told(proxy)}")
    record_property("recomputed", f"{attempts.recomputed} steps")


def test_row_6_killed_in_bad_weather_and_resumed_in_it(
    attempts: Attempts,
    expected: End,
    direct: Store,
    proxy: Proxy,
    record_property: Callable[[str, object], None],
) -> None:
    storms(proxy)
    dying = DyingStore(open_store(attempts.work.storage), fatal=6, after=True)
    assert not attempts.go(store=dying)
    assert attempts.go()
    proxy.calm()
    assert any(note.startswith("Going on from step") for note in attempts.notes)
    assert expected.differences(end(attempts.work)) == []
    assert whole(direct) >= 3
    record_property("lost", f"no committed step; {told(proxy)}")
    record_property("recomputed", f"{attempts.recomputed} steps, died at {dying.keys[-1].split('/', 2)[-1]}")


@pytest.mark.parametrize("fault", ["503", "reset"])
def test_row_6_a_store_that_is_away_costs_snapshots_and_nothing_else(
    attempts: Attempts,
    expected: End,
    direct: Store,
    proxy: Proxy,
    fault: str,
    record_property: Callable[[str, object], None],
) -> None:
    impatient = open_store(attempts.work.storage, patience_s=PATIENCE_S)

    def weather(step: int) -> None:
        if step == 4:
            proxy.always(fault)
        if step == 11:
            proxy.calm()

    assert attempts.go(weather, impatient)
    lost = [note for note in attempts.notes if note.startswith("A snapshot was not kept")]
    assert len(lost) == 2
    assert all(attempts.work.storage in note for note in lost)
    assert expected.differences(end(attempts.work)) == []
    assert whole(direct) == 2
    record_property("lost", f"{len(lost)} snapshots, while the store was away for 8 steps")
    record_property("recomputed", f"{attempts.recomputed} steps")


def test_row_6_a_store_that_stays_away_ends_the_run_which_goes_on_when_it_is_back(
    attempts: Attempts,
    expected: End,
    direct: Store,
    proxy: Proxy,
    record_property: Callable[[str, object], None],
) -> None:

    def weather(step: int) -> None:
        if step == 8:
            proxy.always("503")

    with pytest.raises(Refusal, match=f"{attempts.work.storage} failed at"):
        attempts.go(weather, open_store(attempts.work.storage, patience_s=PATIENCE_S))
    assert attempts.steps[-1] == 12
    proxy.calm()
    assert attempts.go()
    assert expected.differences(end(attempts.work)) == []
    record_property("lost", "what no store was there for: the run refused and named it")
    record_property("recomputed", f"{attempts.recomputed} steps")


def test_row_6_the_driver_too_lives_with_bad_weather(
    folder: Path,
    bucket: str,
    direct: Store,
    proxy: Proxy,
    record_property: Callable[[str, object], None],
) -> None:
    """Teachers are pinned, the run is claimed and held, and its result is read, all in the same weather."""
    experiment = small.experiment(folder)
    launch = replace(small.launch(folder), data=str(folder / "storage" / "data" / "small"))
    at_home = run(experiment, replace(launch, run="home"), lambda message: None)
    storms(proxy)
    away = run(experiment, replace(launch, storage=bucket, run="weather"), lambda message: None)
    record_property("lost", f"nothing; {told(proxy)}")
    record_property("recomputed", "0 steps")
    proxy.calm()
    assert away.digest == at_home.digest
    assert away.scores == at_home.scores
    assert not list(direct.list("runs/weather/alive"))
