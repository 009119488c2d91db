"""What there is to do for a list of published files: looks at names and sizes on disk only, asks nobody."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hlcli.data.datasets.base import DownloadOptions, PlannedFile, Source
from hlcli.errors import InputError
from hlcli.files import free_bytes
from hlcli.json_text import read_json
from hlcli.plain_text import counted

MOST_AT_ONCE = 2
_SPACE_MARGIN = 1.05


def plan(
    name: str,
    sources: Sequence[Source],
    folder: Path,
    options: DownloadOptions,
    *,
    photos: int = 0,
    photo_bytes: int | None = None,
) -> list[PlannedFile]:
    """What `download` would do, without writing or asking anybody.

    Args:
        name: the data set.
        sources: its published files.
        folder: where they go.
        options: how they would be fetched.
        photos: how many are to be fetched one by one besides.
        photo_bytes: about how many bytes one has; None where nobody knows.

    Raises:
        InputError: for a part that the data set does not have.
    """
    rows, missing = [], []
    for source in choose(name, sources, options):
        if is_done(source, folder, options) and not options.overwrite:
            rows.append(PlannedFile(source.name, "present", "0 bytes"))
            continue
        missing.append(source)
        rows.append(PlannedFile(source.name, *_state(source, folder, options)))
    needed = _describe_space(missing, folder, options, photos, photo_bytes)
    rows.append(PlannedFile(f"{name}: disk space needed", "", needed))
    return [*rows, PlannedFile(f"{name}: disk space free", "", f"{free_bytes(folder):,} bytes")]


def _describe_space(
    missing: Sequence[Source], folder: Path, options: DownloadOptions, photos: int, photo_bytes: int | None
) -> str:
    """What is known of the disk space that is needed; of an archive's content nothing is."""
    coming = [source for source in missing if source.urls or find_given(source, folder, options) is not None]
    unsized = sum(source.size is None for source in coming)
    unknown = [counted(unsized, "file")] if unsized else []
    words = f"{space_needed(missing, folder, options):,} bytes"
    if photos and photo_bytes is not None:
        words += f" and about {-(-photos * photo_bytes // 1_000_000):,} MB for {counted(photos, 'photo')}"
    elif photos:
        unknown.append(counted(photos, "photo"))
    if photos or unsized or any(source.unpack_to is not None for source in coming):
        words = f"at least {words}"
    return f"{words}; the sizes of {' and of '.join(unknown)} are not published" if unknown else words


def _state(source: Source, folder: Path, options: DownloadOptions) -> tuple[str, str]:
    """State and bytes to fetch of a file that is not done."""
    given = find_given(source, folder, options)
    if given is not None:
        to_do = "to be unpacked" if source.unpack_to is not None else "to be copied"
        return "to be verified" if given == folder / source.name and source.unpack_to is None else to_do, "0 bytes"
    if not source.urls:
        return ("present", "0 bytes") if is_unpacked_by_hand(source, folder) else ("by hand", "unknown")
    have = partial_bytes(source, folder)
    size = "unknown" if source.size is None else f"{source.size - have:,} bytes"
    return "partial" if have else "missing", size


def choose(name: str, sources: Sequence[Source], options: DownloadOptions) -> list[Source]:
    """The files that are asked for.

    Raises:
        InputError: for a part that the data set does not have.
    """
    parts = list(dict.fromkeys(source.part for source in sources))
    unknown = [part for part in options.parts if part not in parts]
    if unknown:
        raise InputError(f"{name} has no part {unknown[0]!r}; it has {', '.join(parts)}.")
    if options.parts:
        return [source for source in sources if source.part in options.parts]
    return [source for source in sources if not source.is_optional]


def refuse_unprotected(name: str, sources: Sequence[Source], folder: Path, options: DownloadOptions) -> None:
    """Refuse to fetch over plain http what has a sum, without comparing it: nothing else protects such a file.

    Raises:
        InputError: naming the files.
    """
    if options.verify or options.offline:
        return
    plain = [
        source.name
        for source in choose(name, sources, options)
        if source.checksum is not None and source.urls and source.urls[0].startswith("http:")
        and find_given(source, folder, options) is None
        and (options.overwrite or not is_done(source, folder, options))
    ]  # fmt: skip
    if plain:
        raise InputError(
            f"{name}: --no-verify is refused for what comes over plain http, where nothing but the checksum protects: "
            f"{', '.join(plain)}.",
            "Leave --no-verify out, or fetch the files yourself and give their folder with --from DIR.",
        )


def find_unverified(name: str, sources: Sequence[Source], folder: Path, options: DownloadOptions) -> tuple[str, ...]:
    """The files that are there and should have been compared with their published sums, but cannot be any more."""
    return tuple(source.name for source in choose(name, sources, options) if _is_unverified(source, folder, options))


def is_done(source: Source, folder: Path, options: DownloadOptions) -> bool:
    """Whether a file was completed by an earlier run, and what it gave is still there.

    One that came without verification is not done as long as it can be verified now.
    """
    try:
        stamp = _read_stamp(source, folder)
        same_sum = source.checksum is None or stamp["checksum"] in (None, source.checksum.value)
        is_whole = all((folder / sample).stat().st_size == size for sample, size in stamp["samples"].items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # no stamp, or one of another version
        return False
    can_verify = _is_unverified(source, folder, options) and find_given(source, folder, options) is not None
    return same_sum and is_whole and not can_verify


def _is_unverified(source: Source, folder: Path, options: DownloadOptions) -> bool:
    """Whether a file that is there should have been compared with its published sum, and was not."""
    try:
        return options.verify and source.checksum is not None and _read_stamp(source, folder)["checksum"] is None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _read_stamp(source: Source, folder: Path) -> Any:
    return read_json(stamp_path(source, folder))


def is_unpacked_by_hand(source: Source, folder: Path) -> bool:
    """Whether the folder of an archive that we cannot fetch is there."""
    return not source.urls and source.unpack_to not in (None, ".") and (folder / str(source.unpack_to)).is_dir()


def find_given(source: Source, folder: Path, options: DownloadOptions) -> Path | None:
    """A file that need not be fetched: in the folder filled by hand, in the data set's folder, or left by a run."""
    places = [folder / source.name] if source.unpack_to is not None else []
    if options.source is not None:
        places += [options.source / part / source.name for part in ("", folder.name, "annotations")]
    if not options.overwrite:
        places.append(fetched_path(source, folder))
    return next((place for place in places if place.is_file()), None)


def space_needed(sources: Sequence[Source], folder: Path, options: DownloadOptions) -> int:
    """Bytes of disk that fetching and unpacking takes at most, as far as sizes are published.

    Archives are removed one by one as they are unpacked, so that no more than two lie beside their content.
    """
    given = {source.name for source in sources if find_given(source, folder, options) is not None}
    lasting = sum(source.size or 0 for source in sources)
    archives = [source for source in sources if source.unpack_to is not None and source.name not in given]
    sizes = sorted((source.size or 0 for source in archives), reverse=True)
    passing = sum(sizes if options.keep_archives else sizes[:MOST_AT_ONCE])
    have = sum(partial_bytes(source, folder) for source in sources)
    return max(0, round((lasting + passing) * _SPACE_MARGIN) - have)


def partial_bytes(source: Source, folder: Path) -> int:
    """How many bytes of a file an interrupted transfer left."""
    part = fetched_path(source, folder)
    part = part.with_name(f"{part.name}.part")
    return part.stat().st_size if part.is_file() else 0


def fetched_path(source: Source, folder: Path) -> Path:
    """Where a file from the web goes: archives wait in a folder of their own."""
    return folder / source.name if source.unpack_to is None else folder / "archives" / source.name


def stamp_path(source: Source, folder: Path) -> Path:
    """The small file that tells that a file is done."""
    return folder / ".fetched" / f"{source.name}.json"
