"""How much memory this process takes at most while it does something, whatever it took before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RESET = Path("/proc/self/clear_refs")


@contextmanager
def memory_below(megabytes: float) -> Iterator[None]:
    """Fail where more is taken at once besides what is held already; only Linux tells, elsewhere nothing is asked."""
    if not _RESET.exists():
        yield
        return
    _RESET.write_text("5")  # the peak is from now on
    before = _peak()
    yield
    grown = _peak() - before
    assert grown < megabytes, f"{grown:.0f} MB more at the peak"


def _peak() -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024
