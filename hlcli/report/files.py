"""The file of a report, checked before hours of work; the pages themselves are made in `report/`."""

from __future__ import annotations

from pathlib import Path

from hlcli.errors import InputError

PAGE_SUFFIXES = (".html", ".htm")


def check_report_file(path: str | Path) -> Path:
    """Refuse a name that no browser would open as a page.

    Raises:
        InputError: when it does not end in .html.
    """
    path = Path(path)
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise InputError(f"--report: {path} does not end in .html.", f"Give {path.with_suffix('.html')}.")
    return path
