"""Runs the workers of one run: in this process, or as Ray Train workers.

A worker's own module is imported by those who train, in a way that is quick (`warm`), and not by all who
come by here.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from jointdistill.cores import cores
from jointdistill.engine.claims import Claims, Superseded
from jointdistill.launch.cluster import connected
from jointdistill.launch.hang import HangWatch
from jointdistill.launch.stop import StopSign
from jointdistill.launch.warm import warm
from jointdistill.launch.work import Message, Note, Outcome, Work
from jointdistill.store.objects import open_store
from jointdistill.types import Refusal, Stopped

RESIZED_EVERY_S = 60.0
"""How often it is looked whether an elastic run could have more workers; they all start anew then."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""glibc's malloc.h."""


def train(work: Work, receive: Callable[[Message], None], sign: StopSign) -> Outcome:
    """Train a run to its end. `receive` gets the messages, in order, in the driver's process.

    Raises what a worker raised (a `Refusal` where it refused), and `Stopped` where the sign asked for it.
    """
    outcome: Outcome | str | None
    with sign.heard():
        if work.launch.workers == 0:
            from jointdistill.engine.keeper import Ears
            from jointdistill.launch.worker import live

            tune_process(work.launch.threads, 1)
            outcome = live(work, receive, Ears(asked_to_stop=sign.asked.is_set))
        else:
            with connected(work.launch.least, work.launch.chosen_device):
                outcome = _train_on_ray(work, receive, sign)
    if not isinstance(outcome, Outcome):
        raise Stopped(outcome or "before it could keep a snapshot")
    return outcome


def tune_process(threads: int, workers: int) -> None:
    """Divide the cores here among the workers, unless told otherwise, and keep memory between steps."""
    import torch

    torch.set_num_threads(threads or max(1, cores() // workers))
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


def _train_on_ray(work: Work, receive: Callable[[Message], None], sign: StopSign) -> Outcome | str | None:
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from jointdistill.launch.mailbox import Mailbox, Postman
    from jointdistill.launch.trainer import Losses, Trainer

    cuda, most = work.launch.chosen_device == "cuda", work.launch.workers
    # Beside the driver: on a machine that is taken away nobody would hear of it.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox)
    mailbox = actor.remote(work.launch.restarts, work.launch.least, "GPU" if cuda else "CPU")
    with (
        tempfile.TemporaryDirectory(prefix="jd-train-") as scratch,
        Postman(mailbox, receive, sign),
        interruptible(),
    ):
        trainer = Trainer(
            _worker,
            train_loop_config={"work": work, "mailbox": mailbox},
            torch_config=TorchConfig(backend="nccl" if cuda else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=(work.launch.fewest, most) if work.launch.fewest else most,
                use_gpu=cuda,
                elastic_resize_monitor_interval_s=RESIZED_EVERY_S,
            ),
            # Ray keeps nothing for us, so its index cannot break a run: we resume from our own snapshots,
            # whose digests are checked. It starts lost workers again for as long as the mailbox lets them.
            run_config=RunConfig(
                name=work.run,
                storage_path=scratch,
                failure_config=FailureConfig(max_failures=-1),
                callbacks=[Losses(mailbox)],
            ),
        )
        try:
            outcome: Outcome | str | None = trainer.fit().return_value
        except TrainingFailedError:
            if not sign.asked.is_set():  # else it died of being stopped
                raise
            outcome = None
        failure = ray.get(mailbox.failure.remote())
    if failure:
        raise failure
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


def _worker(config: dict[str, Any]) -> Outcome | str | None:
    """What every Ray Train worker runs: on the first rank the outcome, or in words how it was stopped."""
    import ray
    from ray.exceptions import ActorDiedError
    from ray.train import get_context, get_preemption_info

    from jointdistill.launch.mailbox import StopBell

    warm("jointdistill.launch.worker")
    from jointdistill.engine.keeper import Ears
    from jointdistill.launch.worker import live

    work: Work = config["work"]
    mailbox = config["mailbox"]
    try:
        if not ray.get(mailbox.begin.remote()):
            return None
    except ActorDiedError:
        return None  # nobody hears what it would say, and the driver ends the run for that
    tune_process(work.launch.threads, int(os.environ.get("LOCAL_WORLD_SIZE", work.launch.workers)))

    def to_be_preempted() -> bool:
        announced = get_preemption_info() is not None
        if announced:
            mailbox.warn.remote()
        return announced

    def say_surely(sentence: str) -> None:
        ray.get(mailbox.put.remote(Note(sentence)), timeout=10)

    rank = get_context().get_world_rank()
    asked = threading.Event()
    hang = HangWatch(rank, work.launch.hang_s, say_surely, partial(os._exit, 1))
    last = work.experiment.optimise.steps  # what comes after it takes its own time
    try:
        with StopBell(mailbox, asked), hang:
            ears = Ears(asked.is_set, to_be_preempted, partial(hang.alive, last=last), hang.busy)
            return live(work, lambda message: mailbox.put.remote(message) and None, ears)
    except Stopped as stopped:
        return str(stopped)
    except Exception as failure:
        if _of_another_rank(failure):
            raise
        if isinstance(failure, Superseded) and _replaced(work):
            return None  # thought dead, and replaced: the run is in good hands
        if not isinstance(failure, Refusal):
            failure.add_note(f"On rank {rank}:\n{traceback.format_exc()}")
        try:
            ray.get(mailbox.fail.remote(failure))
        except Exception:  # an exception of a foreign class may not survive the way
            ray.get(mailbox.fail.remote(_in_words(failure)))
        if work.launch.workers == 1:
            return None
        raise  # the other ranks wait for this one; started again, all will find that the run has failed


def _replaced(work: Work) -> bool:
    """Whether the run is with newer workers of the same driver."""
    newest = Claims(open_store(work.storage), work.run).newest()
    return newest is not None and newest.owner == work.owner


def _in_words(failure: Exception) -> Exception:
    plain = RuntimeError(f"{type(failure).__name__}: {failure}")
    for note in getattr(failure, "__notes__", ()):
        plain.add_note(note)
    return plain


def _of_another_rank(failure: Exception) -> bool:
    """Whether a rank only failed because another one, or what Ray keeps for all of them, was lost.

    Of what is left of a group, Ray takes the process group away while it still trains.
    """
    from ray.exceptions import RayError
    from torch.distributed import DistError

    signs = {RuntimeError: "gloo|NCCL|[Cc]onnection", ValueError: "process group has not been initialized"}
    return isinstance(failure, DistError | RayError) or any(
        isinstance(failure, kind) and re.search(sign, str(failure)) for kind, sign in signs.items()
    )
