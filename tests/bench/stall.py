"""How long training waits for its snapshots, and how much they slow it down; see snapshot.py."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

import demo_sized
import spread
import torch

from jointdistill.data.sampling import Sampling
from jointdistill.engine.loop import Loop
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.snapshot import MANIFEST
from jointdistill.experiment import Experiment, Optimise
from jointdistill.launch import train, worker
from jointdistill.launch.settle import settle
from jointdistill.nets.joint import Joint
from jointdistill.store.base import Store
from jointdistill.types import Batch

STUDENT = Joint(width=146, decoder=32)
"""25.6 M parameters."""
EVERY = 50
"""Steps between snapshots, and of a block: each begins with the step that ends in a snapshot."""
BIG = 1 << 20
"""A value of so many bytes is a part of a snapshot; the others are about it."""


class Block(NamedTuple):
    """What a block took, in seconds."""

    wall: float
    processor: float
    """Of the training thread alone."""
    blocked: float
    rest: float
    """After its last step, until its snapshot was durable; within `wall`."""


@dataclass
class TimedStore(Store):
    """A store with a clock."""

    inner: Store
    puts: list[tuple[int, float]] = field(default_factory=list)
    """Bytes and seconds of each big value."""
    durable: list[float] = field(default_factory=list)
    """When a manifest was there."""

    def put(self, key: str, value: bytes) -> None:
        began = time.perf_counter()
        self.inner.put(key, value)
        now = time.perf_counter()
        if len(value) >= BIG:
            self.puts.append((len(value), now - began))
        if key.endswith(MANIFEST):
            self.durable.append(now)

    def get(self, key: str) -> bytes:
        return self.inner.get(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        self.inner.delete(key)


class Turns:
    """Hands a loop its batches in blocks, each of which keeps snapshots in its own way."""

    def __init__(self, loop: Loop, order: list[str]) -> None:
        self.loop, self.order, self.mode = loop, order, "none"
        self.writer, self.stream, self.keep = loop.outside.writer, loop.loader.stream, loop.keeper.snapshot
        self.store = TimedStore(self.writer.snapshots.store)
        self.device = loop.parts.ranks.device
        self.blocks: dict[str, list[Block]] = {mode: [] for mode in order}
        self.taken: list[float] = []

    def begin(self) -> None:
        """From now on the loop takes turns."""
        self.writer.snapshots.store = self.store
        self.loop.loader.stream = self.batches  # type: ignore[method-assign]
        self.loop.keeper.snapshot = self.snapshot  # type: ignore[method-assign]
        self.loop._listen = lambda: None  # type: ignore[method-assign]  # it would fall into one block

    def batches(self, start: int, stop: int, *, pin: bool = False) -> Iterator[Batch]:
        """The loop is at work while this generator waits to be asked for more."""
        yield from self.stream(0, EVERY - 1, pin=pin)  # does not count
        demo_sized.finish(self.device)
        for number, mode in enumerate(self.order):
            first, self.mode = (number + 1) * EVERY - 1, mode
            wall, processor, blocked = time.perf_counter(), time.thread_time(), self.writer.blocked_s
            yield from self.stream(first, first + EVERY, pin=pin)
            demo_sized.finish(self.device)
            blocked, rest = self.writer.blocked_s - blocked, time.perf_counter()
            self.writer.wait()
            now = time.perf_counter()
            block = Block(now - wall, time.thread_time() - processor, blocked, now - rest)
            self.blocks[mode].append(block)
            print(f"{mode}: {block}", file=sys.stderr, flush=True)
        self.mode = "none"
        yield from self.stream(stop - 1, stop, pin=pin)

    def snapshot(self, wait: bool) -> None:
        """`Keeper.snapshot`, in the way of this block."""
        if self.mode == "none":
            return
        self.taken.append(time.perf_counter())
        self.keep(wait)
        if self.mode == "waiting":
            with self.writer.blocking():
                self.writer.wait()


def measure(
    experiment: Experiment, folder: Path, storage: str, pairs: int, batch: int, device: Literal["cpu", "cuda"]
) -> dict[str, Any]:
    """Train with snapshots, without, and waiting for each: what they cost."""
    order = order_of(pairs)
    mine = replace(
        experiment,
        name="stall",
        student=STUDENT,
        sampling=Sampling(batch, batch // 2, experiment.sampling.labels),
        optimise=Optimise(steps=EVERY * (len(order) + 1)),
    )
    launch = replace(
        demo_sized.launch(folder, workers=0),
        storage=storage,
        data=f"{folder}/storage/data/long",
        snapshot_every=EVERY,
        device=device,
    )
    train.tune_process(threads=1, workers=1)
    loop = worker.build(settle(mine, launch).work, Ranks(torch.device(device)), lambda message: None)
    loop.resume()
    turns = Turns(loop, order)
    turns.begin()
    loop.run()
    return {
        "parameters": sum(value.numel() for value in loop.parts.student.parameters()),
        "images_a_step": batch,
        "steps_a_block": EVERY,
        **told(turns),
    }


def order_of(pairs: int) -> list[str]:
    """The blocks' modes: pairs with and without, and a waiting one beside every second pair."""
    order = []
    for number in range(pairs):
        pair = ["beside", "none"] if number % 2 else ["none", "beside"]
        order += pair if number % 2 else ["waiting", *pair]
    return order


def told(turns: Turns) -> dict[str, Any]:
    """The numbers, from the blocks."""
    beside, none, waiting = (turns.blocks[mode] for mode in ("beside", "none", "waiting"))
    ratios = [off.wall / on.wall for on, off in zip(beside, none, strict=True)]
    by_processor = [off.processor / on.processor for on, off in zip(beside, none, strict=True)]
    alone = none[::2]  # the blocks next to which one waited
    sync = [off.wall / on.wall for on, off in zip(waiting, alone, strict=True)]
    durable = [end - begin for begin, end in zip(turns.taken, turns.store.durable, strict=True)]
    sizes, seconds = (sum(column) for column in zip(*turns.store.puts, strict=True))
    return {
        "step_s": round(median(block.wall for block in none) / EVERY, 3),
        "blocked_share": blocked_share(beside),
        "blocked_s": spread.median([block.blocked for block in beside]),
        "steps_ratio": spread.median(ratios),
        "steps_ratio_ci": spread.interval(ratios),
        "steps_ratio_of_sums": round(
            sum(block.wall for block in none) / sum(block.wall for block in beside), 4
        ),
        "steps_ratio_processor": spread.median(by_processor),
        "steps_ratio_processor_ci": spread.interval(by_processor),
        "sync_blocked_share": blocked_share(waiting),
        "sync_steps_ratio": spread.median(sync),
        "sync_steps_ratio_ci": spread.interval(sync),
        "snapshot_bytes": round(sizes / len(durable)),
        "durable_s": spread.median(durable),
        "put_mb_per_s": round(sizes / seconds / 1e6, 1),
        "after_the_block_s": round(max(block.rest for block in beside), 2),
        "pairs": len(ratios),
    }


def blocked_share(blocks: list[Block]) -> float:
    """Of the wall time."""
    return round(sum(block.blocked for block in blocks) / sum(block.wall for block in blocks), 5)
