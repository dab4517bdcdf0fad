"""Parts into a snapshot and back. Sharded tensors are gathered whole, so that any world size can go on."""

from __future__ import annotations

from collections.abc import Mapping
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

from jointdistill.engine.parts import Parts
from jointdistill.engine.snapshot import Snapshot
from jointdistill.types import State

_WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
_ARRIVE = StateDictOptions(full_state_dict=True)


def take(parts: Parts) -> Snapshot:
    """Everything that changes in a run. Every rank must call it; only the first gets the content."""
    trained = _whole(_trained(parts))
    optimiser = get_optimizer_state_dict(_trained(parts), parts.optimiser, options=_WHOLE)
    average = student_weights(parts) if parts.average else {}
    if not parts.ranks.first:
        return Snapshot(parts.step, {})
    states: dict[str, State] = {
        "trained": (trained, {}),
        "optimiser": _flatten(optimiser),
        "weighting": parts.weighting.state(),
        "average": (average, {}),
    }
    for place, source in enumerate(parts.trajectory):
        states[f"trajectory-{place}"] = source.state()
    return Snapshot(parts.step, states)


def restore(parts: Parts, snapshot: Snapshot) -> None:
    """Go on from a snapshot."""
    states = snapshot.parts
    if parts.average:
        _load(parts.student, states["average"][0])
        parts.average.swap()
    _load(_trained(parts), states["trained"][0])
    optimiser = _unflatten(states["optimiser"])
    set_optimizer_state_dict(_trained(parts), parts.optimiser, optimiser, options=_ARRIVE)
    parts.weighting.load(states["weighting"])
    for place, source in enumerate(parts.trajectory):
        source.load(states[f"trajectory-{place}"])
    parts.step = snapshot.step
    # The schedule is a function of the step.
    parts.schedule.last_epoch = snapshot.step - 1
    parts.optimiser.zero_grad()
    parts.schedule.step()


def student_weights(parts: Parts) -> dict[str, Tensor]:
    """The student to evaluate and export, whole and on the host: its average where one is kept.

    Every rank must ask; only the first is answered, the others get nothing.
    """
    if parts.average:
        parts.average.swap()
    weights = {name: value.clone() for name, value in _whole(parts.student).items()}
    if parts.average:
        parts.average.swap()
    return weights


def _whole(network: nn.Module) -> dict[str, Tensor]:
    """A network's tensors by name, gathered on the first rank's host; nothing on the others."""
    return cast("dict[str, Tensor]", get_model_state_dict(network, options=_WHOLE))


def _load(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    set_model_state_dict(network, dict(tensors), options=_ARRIVE)


def _trained(parts: Parts) -> nn.Module:
    """All that has gradients, under one roof, as torch's state-dict API wants it."""
    beside = nn.ParameterList(parts.weighting.parameters())
    return nn.ModuleDict({"student": parts.student, "objective": parts.objective, "weighting": beside})


def _flatten(optimiser: dict[str, Any]) -> State:
    """An optimiser's state dict as tensors by name and plain groups."""
    tensors = {
        f"{parameter}:{slot}": value if isinstance(value, Tensor) else torch.tensor(value)
        for parameter, slots in optimiser["state"].items()
        for slot, value in slots.items()
        if value is not None
    }
    return tensors, {"groups": optimiser["param_groups"]}


def _unflatten(state: State) -> dict[str, Any]:
    tensors, plain = state
    slots: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter, slot = name.rsplit(":", 1)
        slots.setdefault(parameter, {})[slot] = value
    return {"state": slots, "param_groups": plain["groups"]}
