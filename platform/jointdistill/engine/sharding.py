"""How a network lies on the ranks: a replica each (DDP), shards (FSDP2), or shards within a node."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar, cast

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from jointdistill.engine.ranks import Ranks
from jointdistill.types import Refusal

Sharding = Literal["replicate", "shard", "hybrid"]


Network = TypeVar("Network", bound=nn.Module)


def spread(network: Network, ranks: Ranks, sharding: Sharding) -> Network:
    """The network on its device, spread over the ranks; called like before. Gradients come out averaged."""
    network = network.to(ranks.device)
    frozen = not any(parameter.requires_grad for parameter in network.parameters())
    if ranks.world > 1 and sharding != "replicate":
        _shard(network, _mesh(ranks, sharding))  # FSDP takes parameters of the plain layout only
        return network
    if frozen or ranks.device.type == "cuda":
        # Convolutions run faster in this layout: on CPU a fifth, and there without a backward pass only,
        # since GroupNorm's crashes in it (torch 2.13).
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network if frozen or ranks.world == 1 else cast(Network, _replicate(network, ranks))


def _replicate(network: nn.Module, ranks: Ranks) -> nn.Module:
    # GroupNorm and frozen BatchNorm leave no buffer to broadcast.
    on = [ranks.device] if ranks.device.type == "cuda" else None
    return DistributedDataParallel(network, on, forward_sync_buffers=False, gradient_as_bucket_view=True)


def _shard(network: nn.Module, mesh: DeviceMesh) -> None:
    """Every element of a ModuleList (a stage, a rung) is gathered on its own; the rest with the root."""
    for holder in list(network.modules()):
        if isinstance(holder, nn.ModuleList):
            for element in holder:
                fully_shard(element, mesh=mesh)
    fully_shard(network, mesh=mesh)


def _mesh(ranks: Ranks, sharding: Sharding) -> DeviceMesh:
    if sharding == "shard":
        return init_device_mesh(ranks.device.type, (ranks.world,))
    within = int(os.environ.get("LOCAL_WORLD_SIZE", torch.cuda.device_count() or 1))
    total, squares = ranks.sum(torch.tensor([within, within**2], device=ranks.device)).tolist()
    if total**2 != ranks.world * squares or ranks.world % within:  # equal only where all are alike
        raise Refusal(
            f"--sharding hybrid needs equally many workers on each node, and {ranks.world} workers do not "
            "divide so here: choose another --workers, or --sharding shard."
        )
    return init_device_mesh(
        ranks.device.type, (ranks.world // within, within), mesh_dim_names=("replicate", "shard")
    )


def forget_gathered(network: nn.Module) -> None:
    """Before shards are changed by hand: FSDP may still hold what the last forward pass gathered of them,
    and would compute with that."""
    for module in network.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def accumulating(network: nn.Module, last: bool) -> AbstractContextManager[object]:
    """Whether a backward pass keeps its gradients local: all but the last micro-batch's do."""
    if isinstance(network, DistributedDataParallel):
        return nullcontext() if last else network.no_sync()
    if isinstance(network, FSDPModule):
        network.set_requires_gradient_sync(last)
    return nullcontext()
