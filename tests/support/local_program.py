"""The real program in a process of its own, with archives of a local server in the place of VOC 2007's.

`python local_program.py ARCHIVES.json WORDS…` is `hlcli WORDS…`; the document lists name, URL, size and sha256 of each
archive, the last two null where nothing is published. `use_archives(ARCHIVES.json)` does the same for a warm program.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from programs import program_environment

from hlcli.data.datasets.base import Source
from hlcli.data.transfers import archive_download
from hlcli.data.transfers.checksums import Checksum
from hlcli.data.transfers.session import Session


def local_command(place: Path, archives: Mapping[str, bytes], *words: object, published: bool = True) -> list[str]:
    """The words that start the program; `archives` by URL, and `place` is a folder for the document."""
    document = archive_list(place, archives, published=published)
    return [sys.executable, str(Path(__file__)), str(document), *map(str, words)]


def archive_list(place: Path, archives: Mapping[str, bytes], *, published: bool = True) -> Path:
    """The document."""
    rows = [
        [
            url.rpartition("/")[2],
            url,
            *([len(content), hashlib.sha256(content).hexdigest()] if published else [None] * 2),
        ]
        for url, content in archives.items()
    ]
    document = place / "archives.json"
    document.write_text(json.dumps(rows))
    return document


def local_environment() -> dict[str, str]:
    """Its environment: this folder and the source tree are found, no proxy is between."""
    environment = program_environment()
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment["PYTHONPATH"]])
    return {
        key: value for key, value in environment.items() if key.upper() not in ("HTTP_PROXY", "ALL_PROXY", "HLCLI_DATA")
    }


def use_archives(document: str) -> None:
    """Put them in the place of VOC 2007's."""
    from hlcli.data.datasets.voc import Voc2007

    rows = json.loads(Path(document).read_text())
    Voc2007.sources = tuple(
        Source(name, (url,), size, sha256 and Checksum("sha256", sha256), unpack_to=".")
        for name, url, size, sha256 in rows
    )
    archive_download.Session = partial(Session, per_second=1e9)  # type: ignore[assignment, misc]


def _main() -> None:
    from hlcli.cli.main import app

    use_archives(sys.argv[1])
    app(sys.argv[2:], prog_name="hlcli")


if __name__ == "__main__":
    _main()
