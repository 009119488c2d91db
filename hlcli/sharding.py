"""FSDP: a network cut over processes by torch's `fully_shard`, and whole again where it must be.

Every process keeps a part of each weight, of its gradient, of the optimiser's state and of the averaged weights. Those
parts are DTensors; everything here but `local_part` is work that all processes do together.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor, nn

from hlcli.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.utils import FullyShardedDataParallelPlugin


def shards_networks(accelerator: Accelerator) -> bool:
    """Whether the launcher asked for FSDP.

    Raises:
        InputError: for kinds of it that hlcli does not train with.
    """
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() != "true" or accelerator.num_processes == 1:
        return False
    if refused := list(_refused_settings(accelerator)):
        raise InputError(
            f"FSDP: {', '.join(refused)} cannot be trained with.",
            "Use fsdp_version: 2, NO_WRAP or TRANSFORMER_BASED_WRAP, no activation checkpointing, no offloading, and "
            "fp32 or bf16.",
        )
    return True


def _refused_settings(accelerator: Accelerator) -> Iterator[str]:
    """The launcher's settings that hlcli does not train with."""
    from torch.distributed.fsdp import CPUOffloadPolicy
    from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

    if os.environ.get("FSDP_VERSION", "1") != "2":
        yield "fsdp_version: 1"
        return  # its other settings are read differently
    settings = _settings()
    if settings.auto_wrap_policy is size_based_auto_wrap_policy:
        yield "fsdp_auto_wrap_policy: SIZE_BASED_WRAP"
    if settings.activation_checkpointing:
        yield "fsdp_activation_checkpointing: true"
    if isinstance(settings.cpu_offload, CPUOffloadPolicy):
        yield "fsdp_offload_params: true"
    if accelerator.mixed_precision == "fp16":
        yield "mixed_precision: fp16"


def _settings() -> FullyShardedDataParallelPlugin:
    """The launcher's settings as Accelerate reads them, which are those of version 2.

    Raises:
        InputError: when it cannot.
    """
    from accelerate.utils import FullyShardedDataParallelPlugin

    try:
        return FullyShardedDataParallelPlugin(fsdp_version=2)
    except (ValueError, AttributeError) as error:  # the latter from 1.6, which stumbles over its own message
        raise InputError(f"FSDP: {error}", "Mend the launcher's settings: docs/examples/fsdp.yaml.") from error


def shard(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """Cut a network over all processes, as the launcher's settings say; the same object, its weights being DTensors.

    Weights stay fp32; autocast computes in bf16, as without FSDP.

    Raises:
        InputError: when the network has a weight that is a single number, or no layers of a class that the settings
            name.
    """
    if numbers := [name for name, parameter in model.named_parameters() if parameter.ndim == 0]:
        raise InputError(
            f"FSDP: weights that are single numbers cannot be cut ({', '.join(numbers)}).",
            "Train this network without FSDP: accelerate launch --multi_gpu.",
        )
    settings = _settings()
    names = settings.transformer_cls_names_to_wrap or []
    layers = [module for module in model.modules() if type(module).__name__ in names and module is not model]
    if missing := set(names) - {type(layer).__name__ for layer in layers}:
        raise InputError(
            f"FSDP: the network has no layers of class {', '.join(sorted(missing))}.",
            "Mend fsdp_transformer_layer_cls_to_wrap, or set NO_WRAP.",
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for layer in reversed(layers):  # inner ones first
        fully_shard(layer, mesh=mesh, reshard_after_forward=settings.reshard_after_forward)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)  # the backward pass begins with what is left
    return model


def is_cut(part: object) -> TypeGuard[Any]:
    """Whether a network, a layer that is gathered by itself, or a tensor is cut over processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return False  # without torch's modules for it, which take seconds to import
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    return isinstance(part, (FSDPModule, DTensor))


@contextmanager
def whole(models: Sequence[nn.Module]) -> Iterator[None]:
    """While active, every process has all weights of networks that are cut: each may look at as many images as it
    likes, where otherwise all would have to look at the same number. Nothing happens to others."""
    parts = [part for model in models for part in model.modules() if is_cut(part)]
    is_freed = bool(parts) and _settings().reshard_after_forward  # of layers, in training
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(is_freed and part not in models, recurse=False)


def without_gradients(models: Sequence[nn.Module]) -> AbstractContextManager[object]:
    """`torch.inference_mode`, or `no_grad` for networks that are cut: training could not go on with what they keep."""
    return torch.no_grad() if any(map(is_cut, models)) else torch.inference_mode()


def local_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process keeps; all of it where nothing is cut."""
    return tensor.to_local() if is_cut(tensor) else tensor


def put_together(tree: Any, *, keep: bool = True) -> Any:
    """A state (of a network, of an optimiser) with whole tensors on the CPU in the place of cut ones.

    Args:
        tree: dicts and lists of anything.
        keep: whether this process wants the whole tensors; it takes part all the same.
    """
    if isinstance(tree, dict):
        return {name: put_together(value, keep=keep) for name, value in tree.items()}
    if isinstance(tree, list):
        return [put_together(value, keep=keep) for value in tree]
    if is_cut(tree):
        value = tree.full_tensor()
        return value.cpu() if keep else None
    return tree


def _cut_like(value: Any, own: Any) -> Any:
    """A whole tensor cut as another of its shape is."""
    if not (isinstance(value, Tensor) and is_cut(own) and value.shape == own.shape):
        return value
    from torch.distributed.tensor import distribute_tensor

    value = value.to(own.device_mesh.device_type, own.dtype)
    return distribute_tensor(value, own.device_mesh, own.placements)


def _like(value: Any, own: Tensor) -> Any:
    """A whole tensor cut as a parameter of its shape is, or in its memory order, which fused optimisers rely on."""
    if is_cut(own) or not isinstance(value, Tensor) or value.shape != own.shape:
        return _cut_like(value, own)
    return torch.empty_like(own, device=value.device, dtype=value.dtype).copy_(value)


def load_model_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Load a whole state into a network that may be cut.

    Raises:
        CheckpointError: when it is another network's.
    """
    own = model.state_dict()
    if strange := sorted(own.keys() ^ state.keys()):
        raise CheckpointError(f"The training state is of another network: it differs in {', '.join(strange[:3])}.")
    own.update({name: _cut_like(value, own.get(name)) for name, value in state.items()})  # keeps versions of modules
    model.load_state_dict(own)


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a whole state into the optimiser of a network that may be cut; the state may be of one that was not."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    own = {
        index: {name: _like(value, parameters[index]) for name, value in values.items()}
        for index, values in state["state"].items()
    }
    way = [group["fused"] for group in optimizer.param_groups]  # torch has no fused SGD for parts
    optimizer.load_state_dict({**state, "state": own})
    for group, fused in zip(optimizer.param_groups, way, strict=True):
        group["fused"] = fused


def share_buffers(accelerator: Accelerator, models: Sequence[nn.Module]) -> None:
    """Give all processes the first one's buffers: it is the one that writes the model, so all measure what it has."""
    if accelerator.num_processes == 1:
        return
    from torch.distributed import broadcast

    for model in models:
        for buffer in model.buffers():
            broadcast(buffer, src=0)
