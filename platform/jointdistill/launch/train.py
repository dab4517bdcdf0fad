"""Runs the workers of one run: in this process, or as Ray Train workers."""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from jointdistill.launch.cluster import connected
from jointdistill.launch.work import Message, Outcome, Work
from jointdistill.launch.worker import live
from jointdistill.types import Refusal

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""glibc's malloc.h."""


def train(work: Work, receive: Callable[[Message], None]) -> Outcome:
    """Train a run to its end. `receive` gets the messages, in order, in the driver's process.

    Raises what a worker raised: a `Refusal` where it refused.
    """
    if work.launch.workers == 0:
        tune_process(work.launch.threads, 1)
        outcome = live(work, receive)
        assert outcome is not None  # alone, this process is the first rank
        return outcome
    with connected(work.launch.workers, work.launch.chosen_device):
        return _train_on_ray(work, receive)


def tune_process(threads: int, workers: int) -> None:
    """Divide the machine's cores among its workers, unless told otherwise, and keep memory between steps."""
    import torch

    torch.set_num_threads(threads or max(1, len(os.sched_getaffinity(0)) // workers))
    _keep_memory()


def _keep_memory() -> None:
    """Let glibc keep what a step frees for the next step.

    By default it hands large tensors back to the kernel and gets them anew, page by page: at the demo's size
    10,000 page faults a step on a CPU, and without them a step takes a tenth less time. The process's peak
    does not grow.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return  # another C library, with habits of its own
    if mallopt(_M_MMAP_THRESHOLD, 1 << 30):
        mallopt(_M_TRIM_THRESHOLD, -1)  # never


def _train_on_ray(work: Work, receive: Callable[[Message], None]) -> Outcome:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from jointdistill.launch.mailbox import Mailbox, Postman

    cuda = work.launch.chosen_device == "cuda"
    mailbox = Mailbox.remote()  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory(prefix="jd-train-") as scratch, Postman(mailbox, receive):
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"work": work, "mailbox": mailbox},
            torch_config=TorchConfig(backend="nccl" if cuda else "gloo"),
            scaling_config=ScalingConfig(num_workers=work.launch.workers, use_gpu=cuda),
            # Ray keeps nothing for us: a run resumes from our own snapshots, whose digests are checked.
            run_config=RunConfig(
                name=work.run, storage_path=scratch, failure_config=FailureConfig(max_failures=0)
            ),
        )
        with interruptible():
            try:
                result = trainer.fit()
            except Exception as failed:
                refusal = _refusal_in(failed)
                if refusal:
                    raise refusal from None
                raise
    outcome: Outcome = result.return_value
    return outcome


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C stays Ctrl-C: Ray's trainer answers it by ending the workers and exiting as if all were well."""
    ours = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as ended:
        raise KeyboardInterrupt from ended
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, ours)


def _worker(config: dict[str, Any]) -> Outcome | None:
    """What every Ray Train worker runs."""
    work: Work = config["work"]
    mailbox = config["mailbox"]
    tune_process(work.launch.threads, int(os.environ.get("LOCAL_WORLD_SIZE", work.launch.workers)))
    return live(work, lambda message: mailbox.put.remote(message) and None)


def _refusal_in(failed: BaseException) -> Refusal | None:
    """The refusal that made a worker fail, if one did."""
    causes: list[BaseException] = [failed, *getattr(failed, "worker_failures", {}).values()]
    while causes:
        cause = causes.pop()
        if isinstance(cause, Refusal):
            return Refusal(str(cause).splitlines()[0])
        inner = (getattr(cause, "cause", None), cause.__cause__, getattr(cause, "_failure", None))
        causes += [item for item in inner if isinstance(item, BaseException)]
    return None
