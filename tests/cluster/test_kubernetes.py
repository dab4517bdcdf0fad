"""The Kubernetes files against KubeRay's own keys and Kubernetes' own schemas. No cluster is asked."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "kubernetes"
KNOWN = yaml.safe_load((Path(__file__).parent / "kuberay.yaml").read_text())
KUBERNETES = "1.30"
TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "number": float}
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text()))


def wrong(value: Any, known: Any, where: str = "spec") -> Iterator[str]:
    """What of a value KubeRay would not take."""
    if isinstance(known, str) and known not in TYPES:
        if value not in known.split("|"):
            yield f"{where}: {value} is none of {known}"
    elif isinstance(known, str):
        if not isinstance(value, TYPES[known]):
            yield f"{where}: {value} is no {known}"
    elif isinstance(known, list):
        for place, one in enumerate(value):
            yield from wrong(one, known[0], f"{where}[{place}]")
    else:
        names = {name.rstrip("!"): name for name in known}
        yield from (f"{where}: nobody knows {name}" for name in value if name not in names)
        needed = (name[:-1] for name in known if name.endswith("!"))
        yield from (f"{where}: {name} is missing" for name in needed if name not in value)
        for name in value.keys() & names.keys():
            yield from wrong(value[name], known[names[name]], f"{where}.{name}")


def pods(name: str) -> list[dict[str, Any]]:
    spec = read(name)["spec"]
    groups = [spec[key] for key in ("headGroupSpec",) if key in spec] + spec.get("workerGroupSpecs", [])
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "it"}}
    return [{**about, **group["template"]} for group in groups]


@pytest.mark.parametrize("name", FILES)
def test_kuberay_and_kubernetes_accept_it(name: str) -> None:
    manifest = read(name)
    if manifest["apiVersion"] != "ray.io/v1":
        validate(manifest, KUBERNETES, strict=True)
        return
    assert list(wrong(manifest["spec"], KNOWN[manifest["kind"]])) == []
    for pod in pods(name):
        validate(pod, KUBERNETES, strict=True)


def test_a_mistake_is_found() -> None:
    spec = read("raycluster.yaml")["spec"]
    spec["workerGroupSpecs"][0]["minReplica"] = spec["workerGroupSpecs"][0].pop("minReplicas")
    spec["autoscalerOptions"]["version"] = "v3"
    spec["rayVersion"] = 2.6
    assert sorted(wrong(spec, KNOWN["RayCluster"])) == [
        "spec.autoscalerOptions.version: v3 is none of v1|v2",
        "spec.rayVersion: 2.6 is no string",
        "spec.workerGroupSpecs[0]: minReplicas is missing",
        "spec.workerGroupSpecs[0]: nobody knows minReplica",
    ]
    pod = copy.deepcopy(pods("raycluster.yaml")[0])
    pod["spec"]["containers"][0]["ressources"] = {}
    with pytest.raises(ValidationError):
        validate(pod, KUBERNETES, strict=True)


def test_idle_it_costs_the_head_and_nothing_else() -> None:
    spec = read("raycluster.yaml")["spec"]
    assert spec["enableInTreeAutoscaling"] is True
    head = spec["headGroupSpec"]["rayStartParams"]
    assert head["num-cpus"] == head["num-gpus"] == "0"
    for group in spec["workerGroupSpecs"]:
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]


def test_nobody_enters_without_the_token() -> None:
    spec = read("raycluster.yaml")["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    policy = read("networkpolicy.yaml")["spec"]
    (label,) = policy["podSelector"]["matchLabels"].items()
    assert label == ("ray.io/cluster", read("raycluster.yaml")["metadata"]["name"])
    assert policy["policyTypes"] == ["Ingress"]
    assert all(rule["from"] for rule in policy["ingress"])
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"


def test_a_job_obeys_the_operators_own_rules() -> None:
    spec = read("rayjob.yaml")["spec"]
    ends_its_cluster = spec.get("shutdownAfterJobFinishes", False)
    assert ends_its_cluster or "ttlSecondsAfterFinished" not in spec
    assert not (ends_its_cluster and "clusterSelector" in spec)


def test_versions_entrypoints_and_addresses_are_those_of_this_folder() -> None:
    (ray,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    cluster, job = read("raycluster.yaml"), read("rayjob.yaml")
    assert cluster["spec"]["rayVersion"] == ray
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    (script,) = re.findall(r"python (\S+)", job["spec"]["entrypoint"])
    assert (ROOT / script).is_file()
    dockerfile = (ROOT / "cluster" / "Dockerfile").read_text()
    assert f"COPY --chown=ray {script.split('/')[0]} jointdistill/" in dockerfile
    paths = yaml.safe_load(job["spec"]["runtimeEnvYAML"])["env_vars"]["PYTHONPATH"]
    code, jobs = paths.split(":")
    assert f"COPY --chown=ray platform {code.removeprefix('/home/ray/')}" in dockerfile
    assert f"COPY --chown=ray jobs {jobs.removeprefix('/home/ray/')}/jobs" in dockerfile
    for pod in pods("raycluster.yaml"):
        (container,) = pod["spec"]["containers"]
        assert container["envFrom"] == [{"configMapRef": {"name": "jointdistill-addresses"}}]
