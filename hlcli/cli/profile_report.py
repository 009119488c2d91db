"""What `--profile` says: a table of phases, after the work, on the standard error output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hlcli.launching import is_first_process
from hlcli.progress import waiting

if TYPE_CHECKING:
    from hlcli import PhaseTime


@contextmanager
def profiled(is_wanted: bool, *verbs: str) -> Iterator[None]:
    """Measure the block if that is wanted, and say where its time went, however it ends.

    Args:
        is_wanted: whether to.
        verbs: public names that the block uses; loading them is a phase.
    """
    if not is_wanted:
        yield
        return
    import hlcli

    profile = hlcli.Profile()
    try:
        with profile:
            profile.begin("libraries")
            with waiting("Loading"):
                for verb in verbs:
                    getattr(hlcli, verb)
            profile.end()
            yield
    finally:
        if is_first_process():
            _show(profile.phases())


def _show(phases: list[PhaseTime]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="where the time went", title_justify="left")
    table.add_column("phase", no_wrap=True)
    for heading in ("share", "seconds", "times"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in phases:
        times = f"{one.times:,}" if one.times else ""
        table.add_row(one.name, f"{one.share:.1%}", f"{one.seconds:,.2f}", times)
    Console(stderr=True).print(table)
