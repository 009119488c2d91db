"""What to do when a disk is full."""

from __future__ import annotations

import errno

MAKE_ROOM = "Make room, or give another --root, and run the same command again."


def how_to_mend(error: OSError) -> str | None:
    """A hint where a file could not be written because the disk, or one's share of it, is full; else None."""
    return MAKE_ROOM if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)) else None
