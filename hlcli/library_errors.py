"""What libraries say of lost processes and too little memory, in our words."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hlcli.errors import HlcliError, LostProcessError, in_a_line

TIMEOUT = "HLCLI_TIMEOUT"
"""Environment variable: minutes that processes wait for each other."""


@contextmanager
def as_ours() -> Iterator[None]:
    """While active, torch's errors about lost processes and too little memory become ours.

    Raises:
        LostProcessError: for another process that is gone, or did not come in time.
        HlcliError: for too little memory.
    """
    try:
        yield
    except RuntimeError as error:
        if (known := _explained(error)) is None:
            raise
        raise known from error


def _lost_loader(what: str) -> LostProcessError:
    """What is said of a process that loads images for this one."""
    return LostProcessError(
        f"A process that loads images {what}: there is no memory left, or a damaged image or disk is at fault.",
        "Give fewer --workers (data.workers); with 0, this process meets the image itself.",
    )


def _explained(error: RuntimeError) -> HlcliError | None:
    """What one of torch's errors means to the user; None for those that are not known."""
    if "torch" not in sys.modules:
        return None
    import torch

    said = str(error)
    if said.startswith("DataLoader worker (pid"):
        return _lost_loader("has died")
    if said.startswith("DataLoader timed out"):
        return _lost_loader("does not answer")
    cause = re.sub(r"\[\S+\.cc:\d+\] ", "", in_a_line(error)).partition(". This is")[0]  # gloo's lines of source
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in said:
        return HlcliError(
            f"There is too little memory. {cause}.",
            "Give a smaller --batch-size; in a training, set train.accumulation_steps, which cuts batches, or "
            "train.precision=bf16.",
        )
    is_known = isinstance(error, getattr(torch.distributed, "DistError", ()))  # of NCCL, and of processes that meet
    if os.environ.get("WORLD_SIZE", "1") == "1":  # there is no other one to lose
        return None
    if not (is_known or any(sign in said for sign in ("third_party/gloo", "Application timeout", "by peer"))):
        return None
    if "timed out" in said.lower() or "timeout" in said.lower():
        return LostProcessError(
            f"Process {os.environ.get('RANK', '0')} has waited for another one in vain. {cause}.",
            f"See what the others said and do: they failed, hang, or wait for a slow disk or download. {TIMEOUT}=60 "
            "lets them wait for 60 minutes.",
        )
    return LostProcessError(
        f"Process {os.environ.get('RANK', '0')} has lost another one. {cause}.",
        "See what that one said last; if nothing, the system may have killed it for want of memory. A training goes "
        "on with --resume.",
    )
