"""How much a test tries: little in the suite, what docs/reliability.md promises with `HLCLI_LONG=1`."""

from __future__ import annotations

import os

IS_LONG = os.environ.get("HLCLI_LONG") == "1"
"""Whether this is a long run: as many tries as the promises say, in minutes or hours instead of seconds."""


def effort(short: int, long: int) -> int:
    """How often to try."""
    return long if IS_LONG else short
