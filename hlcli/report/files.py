"""The file of a report, checked before hours of work; the pages themselves are made in `report/`."""

from __future__ import annotations

from pathlib import Path

from hlcli.errors import InputError
from hlcli.files import check_writable

PAGE_SUFFIXES = (".html", ".htm")


def check_report_file(path: str | Path) -> Path:
    """Refuse a name that no browser would open as a page, and a place that cannot be written.

    Raises:
        InputError: saying which.
    """
    path = Path(path)
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise InputError(f"--report: {path} does not end in .html.", f"Give {path.with_suffix('.html')}.")
    check_writable(path.parent, "--report")
    return path
