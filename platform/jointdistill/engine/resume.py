"""Parts into a snapshot and back. Every rank gives what it has, and any number of ranks can go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from jointdistill.engine import rng
from jointdistill.engine.parts import Parts
from jointdistill.engine.shard import Shard, laid_as
from jointdistill.engine.snapshot import Snapshot
from jointdistill.types import State, Stats

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_PARTLY = StateDictOptions(strict=False)
TRAINED_BESIDE = ("objective", "weighting")
"""Parts that may have parameters of their own: connectors of losses, and what a weighting learns."""


def take(parts: Parts) -> Shard:
    """This rank's share of everything that changes in a run. Every rank must call it.

    The tensors are the live ones: copy them before the next step.
    """
    shard, first = Shard(), parts.ranks.first
    shard.add("trained", (_named(_trained(parts)), {}), first)
    shard.add("optimiser", _flatten(get_optimizer_state_dict(_trained(parts), parts.optimiser)), first)
    shard.add("average", (parts.average.tensors() if parts.average else {}, {}), first)
    shard.add("weighting", parts.weighting.state(), first)
    for place, source in enumerate(parts.trajectory):
        shard.add(f"trajectory-{place}", source.state(), first)
    shard.add("stats", _stats_state(parts.stats), first)
    for rank, (draws, _) in enumerate(parts.ranks.gather((rng.take(), {}))):
        shard.add(f"rng-{rank}", (draws, {}), first)
    return shard


def restore(parts: Parts, snapshot: Snapshot) -> None:
    """Go on from a snapshot of the same experiment."""
    states = snapshot.parts
    restore_student(parts, snapshot)
    restore_average(parts, snapshot)
    restore_optimiser(parts, snapshot)
    parts.weighting.load(states["weighting"])
    for place, source in enumerate(parts.trajectory):
        source.load(states[f"trajectory-{place}"])
    parts.stats = _stats(states["stats"])
    if snapshot.manifest.about.get("world") == parts.ranks.world:  # with other ranks they mean nothing
        rng.restore(states[f"rng-{parts.ranks.rank}"][0])
    parts.stand_at(snapshot.step)


def restore_student(parts: Parts, snapshot: Snapshot, beside: Iterable[str] = TRAINED_BESIDE) -> None:
    """The weights of the student, and of these parts that are trained beside it."""
    known, prefixes = _named(_trained(parts)), tuple(f"{part}." for part in ("student", *beside))
    trained = snapshot.parts["trained"][0]
    wanted = {name for name in known if name.startswith(prefixes)}
    _load(_trained(parts), {name: value for name, value in trained.items() if name in wanted})


def restore_average(parts: Parts, snapshot: Snapshot) -> None:
    """The student's average; where none was kept, it starts from the student's weights."""
    if not parts.average:
        return
    mean = snapshot.parts["average"][0] or snapshot.parts["trained"][0]
    prefix = "" if snapshot.parts["average"][0] else "student."
    for name, value in parts.average.tensors().items():
        value.copy_(laid_as(mean[f"{prefix}{name}"], value))


def restore_optimiser(parts: Parts, snapshot: Snapshot) -> None:
    """What the optimiser remembers of each parameter; its knobs stay those of the experiment."""
    groups = parts.optimiser.param_groups
    knobs = [{knob: value for knob, value in group.items() if knob != "params"} for group in groups]
    optimiser = _unflatten(snapshot.parts["optimiser"], _named(_trained(parts)))
    set_optimizer_state_dict(_trained(parts), parts.optimiser, optimiser)
    for group, own in zip(parts.optimiser.param_groups, knobs, strict=True):
        group.update(own)


def student_weights(parts: Parts) -> dict[str, Tensor]:
    """The student to evaluate and export, whole and on the host: its average where one is kept.

    Row by row, as files want it, however it lies on the device. Every rank must ask; only the first is
    answered, the others get nothing.
    """
    with parts.as_exported():
        whole = cast("dict[str, Tensor]", get_model_state_dict(parts.student, options=_WHOLE))
        return {name: value.clone(memory_format=torch.contiguous_format) for name, value in whole.items()}


def _load(network: nn.Module, whole: Mapping[str, Tensor]) -> None:
    """Put whole tensors in, of which every rank has all; torch would hand them out from the first one."""
    mine = _named(network)
    laid: dict[str, Any] = {name: laid_as(value, mine[name]) for name, value in whole.items()}
    set_model_state_dict(network, laid, options=_PARTLY if mine.keys() > laid.keys() else None)


def _named(network: nn.Module) -> dict[str, Tensor]:
    return cast("dict[str, Tensor]", get_model_state_dict(network))


def _trained(parts: Parts) -> nn.Module:
    """All that has gradients, under one roof, as torch's state-dict API wants it."""
    beside = nn.ParameterList(parts.weighting.parameters())
    return nn.ModuleDict({"student": parts.student, "objective": parts.objective, "weighting": beside})


def _flatten(optimiser: Mapping[str, Any]) -> State:
    """An optimiser's state dict as tensors by name and plain groups."""
    tensors = {
        f"{parameter}:{slot}": value if isinstance(value, Tensor) else torch.tensor(value)
        for parameter, slots in optimiser["state"].items()
        for slot, value in slots.items()
        if value is not None
    }
    return tensors, {"groups": optimiser["param_groups"]}


def _unflatten(state: State, parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    """The optimiser's state dict, each slot laid out like its parameter."""
    tensors, plain = state
    slots: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, slot = name.rsplit(":", 1)
        like = parameters[parameter]
        slots.setdefault(parameter, {})[slot] = laid_as(value, like) if value.ndim == like.ndim else value
    return {"state": slots, "param_groups": plain["groups"]}


def _stats_state(stats: Stats) -> State:
    known = {"window": stats.window, "gram": stats.gram, "after": stats.after}
    return {name: value for name, value in known.items() if value is not None}, {"step": stats.step}


def _stats(state: State) -> Stats:
    tensors, plain = state
    window = tensors.get("window", torch.empty(0, 0, dtype=torch.float64))
    return Stats(cast(int, plain["step"]), window, tensors.get("gram"), tensors.get("after"))
