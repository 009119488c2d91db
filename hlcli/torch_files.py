"""Files that torch wrote: whether they are whole, and what is said of those that are not."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path

from hlcli.errors import in_a_line

DAMAGE = (
    RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
    ArithmeticError, MemoryError, NotImplementedError, struct.error, zipfile.BadZipFile, zlib.error,
    pickle.UnpicklingError,
)  # fmt: skip
"""What zipfile, torch.load and the pickle machine raise for damaged files."""


def check_sums(path: Path) -> None:
    """Refuse a zip file whose parts are damaged: torch maps them unseen, and can die of it.

    Raises:
        BadZipFile: when one is, or the file is no zip file.
    """
    with zipfile.ZipFile(path) as archive:
        if bad := archive.testzip():
            raise zipfile.BadZipFile(f"the sum of its part {bad} is wrong")


def without_advice(error: Exception) -> str:
    """What torch says of a file, without how to load it all the same: that runs what is in it."""
    return re.split(r"\.? (?:In PyTorch|Re-running|This file can still)", in_a_line(error))[0]
