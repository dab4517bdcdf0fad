"""Where Ray comes from: the cluster a job was submitted to, or one of our own in this machine."""

from __future__ import annotations

import logging
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from jointdistill.cores import cores
from jointdistill.place import Launch
from jointdistill.types import Refusal


def device_of(launch: Launch) -> Literal["cpu", "cuda"]:
    """`cpu` or `cuda`: decided once, for all workers.

    1. What the launch says.
    2. In a cluster that was there before: CUDA where it has a GPU now. The driver's machine may have none.
    3. CUDA where this machine has any.

    Raises `Refusal` where machines are still to come, and nobody can see what they will have.
    """
    if launch.device == "auto" and launch.workers and "RAY_ADDRESS" in os.environ:
        with connected(0, "cpu"):
            import ray

            has_gpu = bool(ray.cluster_resources().get("GPU", 0))
        if not has_gpu and autoscales():
            raise Refusal(
                "This cluster grows by itself and has no GPU now: say --device cuda, so that one comes, or "
                "--device cpu."
            )
        return "cuda" if has_gpu else "cpu"
    return launch.chosen_device


@contextmanager
def connected(workers: int, device: str) -> Iterator[None]:
    """A Ray with room for the workers, for the length of the block."""
    _settle_environment()
    import ray  # after the environment is settled: Ray reads it at import

    address = os.environ.get("RAY_ADDRESS")
    if ray.is_initialized():
        _refuse_small(workers, device)
        yield
        return
    logging.getLogger("ray").setLevel(logging.WARNING)
    # Ray's logs of a cluster of our own go with it; what a dying process still writes there does not matter.
    with tempfile.TemporaryDirectory(prefix="jd-ray-", ignore_cleanup_errors=True) as scratch:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if address:
                _join(address)
            else:
                _start(workers, scratch)
        try:
            _refuse_small(workers, device)
            yield
        finally:
            ray.shutdown()


def _settle_environment() -> None:
    """Quiet, private, and quick to see what its workers report."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # otherwise every print of a worker appears twice
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # 2 s by default: that is what a start waits for
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # says so in a warning otherwise
        # Ray trains in a thread, and glibc gives a thread an arena that hands memory back to the kernel
        # whatever `tune_process` says: it cost a twentieth of a step. In a cluster, runtime-env.yaml says so.
        "MALLOC_ARENA_MAX": "1",
    }.items():
        os.environ.setdefault(name, value)
    if "RAY_ADDRESS" not in os.environ and "RAY_AUTH_MODE" not in os.environ:
        # A token for this one cluster of our own: nothing is left on disk, and nobody else can join. That
        # tokens are asked for at all Ray settles itself: it would not hear us where it was imported before.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)  # it says so in a warning


def _start(workers: int, scratch: str) -> None:
    import ray

    # Nobody takes this one machine away from itself; the process that looks out for it would hold up a start.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    ray.init(
        address="local",
        num_cpus=max(workers, cores()),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=scratch,
    )


def _join(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as away:
        raise Refusal(
            f"No Ray cluster answers at {address}: start it, or unset RAY_ADDRESS to run on this machine."
        ) from away


def _refuse_small(workers: int, device: str) -> None:
    """A cluster that cannot grow must have what the workers need now."""
    import ray

    kind = "GPU" if device == "cuda" else "CPU"
    there = ray.cluster_resources().get(kind, 0)
    if there < workers and not autoscales():
        raise Refusal(
            f"{workers} workers need {workers} {kind}s and the cluster has {there:g}: lower --workers, add "
            f"nodes, {'give --device cpu, ' if kind == 'GPU' else ''}or set JOINTDISTILL_AUTOSCALES=1 where "
            "an autoscaler will bring them."
        )


def autoscales() -> bool:
    """Whether the cluster brings machines where some are missing, as the environment says."""
    return bool(os.environ.get("JOINTDISTILL_AUTOSCALES"))
