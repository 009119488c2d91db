"""The random numbers of a training: a function of seed, step and process, whatever happened before."""

from __future__ import annotations

import hashlib

import torch


def seed_step(seed: int, step: int, process: int) -> None:
    """Make this process's random numbers those of a step.

    The CPU's generator looks at the low 32 bits alone, so all that decides is mixed into them.
    """
    digest = hashlib.sha256(f"{seed}/{step}/{process}".encode()).digest()
    number = int.from_bytes(digest[:8], "big") >> 1
    if torch.accelerator.is_available():
        torch.manual_seed(number)
    else:  # the same, without a note of the whole call stack for each kind of device that is not there
        torch.default_generator.manual_seed(number)
