"""Do all processes hold the same weights? They should, to the last bit: they began with the same and learn the same."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hlcli.errors import named
from hlcli.sharding import is_cut

if TYPE_CHECKING:
    from hlcli.training.state import Training

logger = logging.getLogger(__name__)


def check_agreement(training: Training) -> None:
    """Warn of tensors that are not the same on all processes; all must call it.

    Statistics of batch norms are left out: each process has those of its own images, and the first one's count.
    Weights that are cut over processes differ by design.
    """
    accelerator, modules = training.accelerator, {"model": training.model, "loss": training.criterion}
    if accelerator.num_processes == 1:
        return
    if training.ema is not None:
        modules["ema"] = training.ema.model
    tensors = dict(_common_tensors(modules))
    if not tensors:
        return
    sums = torch.stack([_fingerprint(tensor) for tensor in tensors.values()])
    of_all = accelerator.gather(sums[None])  # [processes, tensors]
    differs = (of_all != of_all[0]).any(dim=0).tolist()
    if accelerator.is_main_process and any(differs):
        drifted = [name for name, is_other in zip(tensors, differs, strict=True) if is_other]
        logger.warning("Processes no longer hold the same %s; the first one's is kept.", named(drifted, 3))


def _common_tensors(modules: dict[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    for title, module in modules.items():
        for prefix, part in module.named_modules():
            own = [*part.named_parameters(recurse=False)]
            if not isinstance(part, _BatchNorm):
                own += part.named_buffers(recurse=False)
            for name, tensor in own:
                if not is_cut(tensor) and tensor.numel():
                    yield ".".join(filter(None, (title, prefix, name))), tensor.detach()


def _fingerprint(tensor: Tensor) -> Tensor:
    """The sum of its bits taken as whole numbers, which no order of summing changes."""
    bits = torch.int32 if tensor.element_size() == 4 else torch.uint8
    return tensor.reshape(-1).view(bits).sum(dtype=torch.int64)
