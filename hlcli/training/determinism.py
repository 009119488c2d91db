"""The same bits on a GPU: torch's own switch for it, on while a training needs it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hlcli.errors import TrainingError

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """While active, torch computes the same bits every time, or says which operation cannot.

    Args:
        wanted: nothing is changed without.

    Raises:
        TrainingError: for an operation that has no deterministic form on the device; the message names it.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    is_tuned, workspace = torch.backends.cudnn.benchmark, os.environ.get(_WORKSPACE)
    os.environ.setdefault(_WORKSPACE, ":4096:8")  # matrix products are the same every time only in such a workspace
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)
    try:
        yield
    except RuntimeError as error:
        if "use_deterministic_algorithms" not in str(error):
            raise
        reason = str(error).split(", but you set")[0]
        raise TrainingError(f"train.deterministic: {reason}.", "Set train.deterministic=false.") from error
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = is_tuned
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
