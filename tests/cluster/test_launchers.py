"""The cluster files hold together: Ray accepts them, and what they name exists. No cloud is asked."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml

from jointdistill.store.objects import ObjectStore, open_store

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHERS = ["aws", "gcp", "on-premises", "fake"]
CLOUDS = ["aws", "gcp"]
STARTED = ["aws", "gcp", "on-premises"]
READ_BY_OBSTORE = {"AWS_REGION"}
"""As the AWS SDK names it; that it is read is tested below."""


def launcher(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CLUSTER / f"{name}.yaml").read_text()))


def validate(config: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    # What the fake provider would fill in does not come with Ray's wheel: its file is complete as it is.
    fake = config["provider"]["type"] == "fake_multinode"
    validate_config(config if fake else prepare_config(config))


def start_commands(name: str) -> tuple[str, str]:
    config = launcher(name)
    return config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]


def assigned(command: str) -> dict[str, str]:
    """The variables that a start command sets, by `set -a` for Ray too."""
    assert command.startswith("set -a; . ~/addresses.env; ")
    return dict(re.findall(r"(\w+)=([^; ]+);", command))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ray_accepts_it(name: str) -> None:
    validate(launcher(name))


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_key_that_ray_does_not_know_is_refused(name: str) -> None:
    from jsonschema import ValidationError

    with pytest.raises(ValidationError, match="min_wrokers"):
        validate(launcher(name) | {"min_wrokers": 1})


@pytest.mark.parametrize("name", STARTED)
def test_nothing_is_installed_beside_the_image(name: str) -> None:
    from ray.autoscaler._private.util import prepare_config

    whole = prepare_config(launcher(name))
    for kind in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        assert whole[kind] == []


def test_every_launcher_is_tested() -> None:
    beside = {"runtime-env"}
    assert {path.stem for path in CLUSTER.glob("*.yaml")} == {*LAUNCHERS, *beside}


@pytest.mark.parametrize("name", CLOUDS)
def test_idle_it_costs_the_head_and_nothing_else(name: str) -> None:
    types = launcher(name)["available_node_types"]
    head = types.pop(launcher(name)["head_node_type"])
    assert head["resources"] == {"CPU": 0}
    assert not is_spot(head["node_config"])
    assert len(types) >= 2
    for kind in types.values():
        assert kind["min_workers"] == 0 < kind["max_workers"]
        assert 0 < kind["idle_timeout_s"] <= 300
        assert kind["resources"]["GPU"] == 1  # a machine of eight would be rented for five workers
        assert is_spot(kind["node_config"])
        if name == "gcp":  # AWS ends a spot machine that it takes away; Google only stops it
            assert kind["node_config"]["scheduling"]["instanceTerminationAction"] == "DELETE"


def is_spot(node: dict[str, Any]) -> bool:
    aws = node.get("InstanceMarketOptions", {}).get("MarketType") == "spot"
    return aws or node.get("scheduling", {}).get("provisioningModel") == "SPOT"


def test_googles_disks_are_of_a_type_that_every_machine_takes_and_go_with_it() -> None:
    config = launcher("gcp")
    zone = config["provider"]["availability_zone"]
    assert zone.startswith(config["provider"]["region"])
    for kind in config["available_node_types"].values():
        for disk in kind["node_config"]["disks"]:
            assert disk["initializeParams"]["diskType"] == f"zones/{zone}/diskTypes/pd-balanced"
            assert disk["autoDelete"]


@pytest.mark.parametrize("name", STARTED)
def test_a_token_is_asked_for_and_the_dashboard_stays_at_home(name: str) -> None:
    mounts = launcher(name)["file_mounts"]
    for command in start_commands(name):
        said = assigned(command)
        assert said["RAY_AUTH_MODE"] == "token"
        assert said["RAY_AUTH_TOKEN_PATH"].replace("~", "/home/ray") in mounts
        assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0
    head, _ = start_commands(name)
    assert "--dashboard-host=127.0.0.1" in head


@pytest.mark.parametrize("name", STARTED)
def test_what_it_mounts_is_there_or_the_users_own(name: str) -> None:
    for local in launcher(name)["file_mounts"].values():
        assert local == "~/.ray/auth_token" or (ROOT / local).is_file()
    assert "cluster/Dockerfile" in (CLUSTER / f"{name}.yaml").read_text()


@pytest.mark.parametrize("name", STARTED)
def test_only_where_machines_come_by_themselves_a_job_waits_for_them(name: str) -> None:
    head, worker = map(assigned, start_commands(name))
    for said in (head, worker):  # a driver may be on either
        assert said.get("JOINTDISTILL_AUTOSCALES") == ("1" if name in CLOUDS else None)
        assert said["RAY_JOB_STOP_WAIT_TIME_S"] == "60"


def test_each_name_in_an_environment_is_read_by_somebody() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "platform").rglob("*.py"))
    files = [CLUSTER / "addresses.env", *(CLUSTER / f"{name}.yaml" for name in STARTED)]
    names = {name for file in files for name in re.findall(r"\b([A-Z_]+)=", file.read_text())}
    assert {"JOINTDISTILL_STORAGE", "MLFLOW_TRACKING_URI"} <= names
    ours = {name for name in names if not name.startswith("RAY_")} - READ_BY_OBSTORE
    assert {name for name in ours if name not in code} == set()


def test_requests_are_signed_for_the_buckets_region(monkeypatch: pytest.MonkeyPatch) -> None:
    (region,) = re.findall(r"^AWS_REGION=(.+)$", (CLUSTER / "addresses.env").read_text(), re.MULTILINE)
    assert region == launcher("aws")["provider"]["region"]
    for name, value in (("ACCESS_KEY_ID", "id"), ("SECRET_ACCESS_KEY", "secret"), ("REGION", "eu-west-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    store = open_store("s3://bucket")
    assert isinstance(store, ObjectStore)
    assert "%2Feu-west-1%2Fs3%2F" in obstore.sign(store.client, "GET", "a", timedelta(minutes=1))
    (edit,) = re.findall(r"^\$EDITOR .*$", (CLUSTER / "README.md").read_text(), re.MULTILINE)
    assert "AWS_REGION" in edit


def test_the_token_is_neither_shown_nor_readable_by_others() -> None:
    made = {
        line.partition("#")[0].strip()
        for file in CLUSTER.rglob("*")
        if file.is_file()
        for line in file.read_text().splitlines()
        if "get-auth-token" in line
    }
    assert made == {"(umask 077; ray get-auth-token --generate > /dev/null)"}


def test_no_secret_lies_in_a_cluster_file() -> None:
    for file in (path for path in CLUSTER.rglob("*") if path.is_file() and path.suffix != ".md"):
        assert not re.search(r"(SECRET\w*|PASSWORD|ACCESS_KEY\w*|AUTH_TOKEN)\s*[:=]", file.read_text()), file


def test_the_image_is_given_gpus() -> None:
    said = (CLUSTER / "Dockerfile").read_text()
    environment, job = said.split("AS job")
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", environment, re.MULTILINE)
    assert dict(word.split("=") for word in block.replace("\\", "").split()) == {
        "NVIDIA_VISIBLE_DEVICES": "all",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "LD_LIBRARY_PATH": "/usr/local/nvidia/lib:/usr/local/nvidia/lib64",  # GKE mounts its driver there
    }
    assert "ENV" not in job


def test_the_image_has_the_versions_that_were_tested() -> None:
    said = (CLUSTER / "Dockerfile").read_text()
    assert "FROM python:3.11-" in said
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    assert "venv" not in said  # a login shell would not find it
    copied = re.findall(r"^COPY (?:--\S+ )*(\S+) ", said, re.MULTILINE)
    assert copied == ["constraints.txt", "platform", "jobs"]
    assert all((ROOT / file).exists() for file in copied)
