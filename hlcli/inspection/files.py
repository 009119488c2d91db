"""Images that are listed and files that are there: what of one has no partner in the other, and what is twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from hlcli.data.datasets.folder import Folder
from hlcli.data.image_files import find_images
from hlcli.errors import InputError
from hlcli.inspection.findings import Finding, finding_on
from hlcli.inspection.rows import SplitRows
from hlcli.sections import DataSection


def missing_rows(rows: SplitRows) -> list[int]:
    """Rows whose image is a file that is not there."""
    return [row for row, file in enumerate(rows.files) if file is not None and not os.path.isfile(file)]


def file_findings(data: DataSection, splits: Sequence[SplitRows], missing: Sequence[Sequence[int]]) -> list[Finding]:
    """Listed images without a file, images listed twice, files that are not listed.

    Args:
        data: the data set.
        splits: its images.
        missing: of every split, the rows whose file is not there.
    """
    findings, real = [], _real_path()
    for rows, absent in zip(splits, missing, strict=True):
        what = f"{{}} of {len(rows.files):,} images {{has|have}} no file."
        mend = "Fetch {it|them} again, correct the paths, or leave {it|them} out with data.skip."
        if isinstance(data, Folder) and data.store is None:  # its reader wants skipped images too
            mend = "Fetch {it|them} again, or correct the file data.labels: its names are relative to data.images."
        findings += finding_on(map(rows.name, absent), "error", "files", what, mend, (rows.split,))
    findings += listed_twice(splits)
    return findings + _unlisted(data, {real(file) for rows in splits for file in rows.files if file is not None}, real)


def _real_path() -> Callable[[str], str]:
    """Finds out a file's real name; a folder is looked up once."""
    real_folder = cache(os.path.realpath)

    def real(file: str) -> str:
        folder, name = os.path.split(file)
        return os.path.join(real_folder(folder), name)

    return real


def listed_twice(splits: Sequence[SplitRows]) -> list[Finding]:
    """Ids and files that are in a list more than once, or in two lists."""
    real = _real_path()
    findings = _again(splits, "id", lambda rows, row: rows.image_ids[row])
    return findings + _again(splits, "file", lambda rows, row: (file := rows.files[row]) and real(file))


def _again(splits: Sequence[SplitRows], kind: str, key: Callable[[SplitRows, int], str | None]) -> list[Finding]:
    """Images that are listed again, in the same split or, which is worse, in another one."""
    first: dict[str, tuple[SplitRows, int]] = {}
    again: dict[tuple[str, str], list[str]] = {}
    for rows in splits:
        for row in range(len(rows.image_ids)):
            name = key(rows, row)
            home, first_row = (rows, row) if name is None else first.setdefault(name, (rows, row))
            if home is not rows or first_row != row:
                other = "" if home.labels[first_row] == rows.labels[row] else ", with other labels"
                text = f"{home.name(first_row)} = {rows.name(row)}{other}"
                again.setdefault((home.split, rows.split), []).append(text)
    findings = []
    for (split, other), where in again.items():
        what = f"{{}} {{{kind}|{kind}s}} of {split} {{is|are}} listed more than once."
        mend = "Correct the list: one row per image."
        if split != other:
            what = f"{{}} {{{kind} is|{kind}s are}} in {split} and in {other}: scores there are those of known images."
            mend = "Correct the lists. Where splits share images on purpose (trainval), trust no score of the second."
        findings += finding_on(where, "error", "files", what, mend, tuple(dict.fromkeys((split, other))))
    return findings


def _unlisted(data: DataSection, listed: set[str], real: Callable[[str], str]) -> list[Finding]:
    """Image files beside the listed ones that no split names."""
    folder = getattr(data, "images", None)  # of sets that are read from a folder
    places = [folder] if isinstance(folder, Path) else sorted({Path(file).parent for file in listed})
    found: dict[Path, None] = {}
    for place in filter(Path.is_dir, places):
        with suppress(InputError):  # no image there: then all of the listed ones are missing, which was said
            found |= dict.fromkeys(find_images([place]))
    known = listed | {real(str(place / image_id)) for place in places for image_id in data.skip}
    strangers = [str(path) for path in found if real(str(path)) not in known]
    mend = "Right for images that were left out on purpose; else list {it|them}."
    what = "{} image {file is|files are} there, but no split names {it|them}."
    return finding_on(strangers, "note" if folder is None else "warning", "files", what, mend)
