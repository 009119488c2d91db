"""Looking again at what is there (`--verify`): files against their sums, photos against those they came with."""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hlcli.data.datasets.base import Source
from hlcli.data.transfers.archive_plan import fetched_path, stamp_path
from hlcli.data.transfers.archives import OnMember
from hlcli.data.transfers.checksums import Checksum, complaint_about
from hlcli.data.transfers.crawl import DAMAGED, CrawlPlan, ImageItem
from hlcli.data.transfers.image_fetch import not_an_image
from hlcli.data.transfers.manifest import Kept, Manifest, read_lines
from hlcli.errors import HlcliError, named
from hlcli.files import whole_file, write_json
from hlcli.json_text import read_json
from hlcli.progress import Progress

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20
_MEMBERS_SUFFIX = ".members.jsonl"


def find_damaged(sources: Sequence[Source], folder: Path) -> list[Source]:
    """The files of a data set that differ from what they should be; from now on these do not count as fetched.

    A file without a published sum is compared with the one it had when it came. Damaged files stay until others come.

    Raises:
        HlcliError: when a file cannot be read.
    """
    damaged = []
    for source in sources:
        path, stamp = fetched_path(source, folder), stamp_path(source, folder)
        if not path.is_file():
            continue
        checksum = source.checksum or _own_sum(stamp)
        if checksum is None:
            logger.info("%s has no sum to compare with.", path)
        try:
            complaint = complaint_about(path, checksum, source.size)
        except OSError as error:
            raise HlcliError(f"{path} cannot be read: {error.strerror or error}.") from error
        if complaint is not None:
            logger.warning("%s is damaged: %s.", path, complaint)
            if source.checksum is None and checksum is not None:  # nothing else tells what it should be
                write_json(stamp, {"sha256": checksum.value, "damaged": True})
            else:
                stamp.unlink(missing_ok=True)
            damaged.append(source)
    return damaged


def sum_before_damage(source: Source, folder: Path) -> Checksum | None:
    """The sum that a file without a published one had before it was found damaged; None for all others."""
    return _own_sum(stamp_path(source, folder), only_damaged=True) if source.checksum is None else None


def _own_sum(stamp: Path, *, only_damaged: bool = False) -> Checksum | None:
    """The sum that a file had when it was fetched."""
    try:
        values = read_json(stamp)
        value = values["sha256"]
        is_asked_for = values.get("damaged", False) or not only_damaged
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # no stamp, or one of another version
        return None
    return Checksum("sha256", value) if isinstance(value, str) and is_asked_for else None


@contextmanager
def member_list(source: Source, folder: Path) -> Iterator[OnMember]:
    """A function that lists a file of an archive that is being unpacked, with its sum, for `find_changed`.

    The list is there when the block ends without an error.

    Raises:
        HlcliError: when it cannot be written.
    """
    path = stamp_path(source, folder).with_name(f"{source.name}{_MEMBERS_SUFFIX}")
    place = Path(source.unpack_to or ".")
    with whole_file(path) as handle:

        def add(file: str, num_bytes: int, crc32: int) -> None:
            row = {"file": (place / file).as_posix(), "bytes": num_bytes, "crc32": crc32}
            handle.write(json.dumps(row) + "\n")

        yield add


def find_changed(sources: Sequence[Source], folder: Path) -> list[Source]:
    """The archives of which unpacked files are missing or changed; from now on these do not count as unpacked.

    Raises:
        HlcliError: when a file cannot be read.
    """
    archives = [source for source in sources if source.unpack_to is not None]
    lists = {path.name: _read_list(path) for path in (folder / ".fetched").glob(f"*{_MEMBERS_SUFFIX}")}
    known = defaultdict[str, set[tuple[int, int]]](set)  # two archives may have the same file: either's will do
    for files in lists.values():
        for file, state in files.items():
            known[file].add(state)
    found = []
    total = sum(len(lists.get(f"{source.name}{_MEMBERS_SUFFIX}", ())) for source in archives)
    with Progress("Verifying files", total=total, unit="file", enabled=bool(total)) as bar:
        for source in archives:
            files, stamp = lists.get(f"{source.name}{_MEMBERS_SUFFIX}", {}), stamp_path(source, folder)
            changed = []
            for file in files:
                if _state(folder / file) not in known[file]:
                    changed.append(file)
                bar.advance()
            if changed:
                count = f"{len(changed):,} of {len(files):,}"
                logger.warning("%s files of %s are missing or changed: %s.", count, source.name, named(changed))
                stamp.unlink(missing_ok=True)
                found.append(source)
            elif not files and stamp.exists():
                way = "only a new download (--overwrite) can verify its files"
                logger.info("%s was unpacked by an earlier version, which kept no sums: %s.", source.name, way)
    return found


def _read_list(path: Path) -> dict[str, tuple[int, int]]:
    """Length and CRC-32 of the files of an archive, by their path below the data set's folder."""
    rows = [(row.get("file"), row.get("bytes"), row.get("crc32")) for row in read_lines(path)]
    return {file: (size, crc) for file, size, crc in rows if type(file) is str and type(size) is type(crc) is int}


def _state(path: Path) -> tuple[int, int] | None:
    """Length and CRC-32 of a file; None where there is none."""
    num_bytes = crc32 = 0
    try:
        with open(path, "rb") as handle:
            while chunk := handle.read(_CHUNK_BYTES):
                num_bytes, crc32 = num_bytes + len(chunk), zlib.crc32(chunk, crc32)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise HlcliError(f"{path} cannot be read: {error.strerror or error}.") from error
    return num_bytes, crc32


def without_damaged_photos(plan: CrawlPlan, folder: Path) -> CrawlPlan:
    """A plan in which every photo that is there was read again; damaged ones are wanted, and stay until others come.

    A photo is compared with the sum it had when it came; one from before there were sums is decoded.

    Raises:
        HlcliError: when a photo cannot be read.
    """
    manifest = Manifest(folder)
    damaged: set[ImageItem] = set()
    with (
        manifest.writer() as add,
        Progress("Verifying photos", total=len(plan.present), unit="photo", enabled=bool(plan.present)) as bar,
    ):
        for item in plan.present:
            path, kept = folder / item.file, manifest.files[item.file]
            try:
                content = path.read_bytes()
            except OSError as error:
                raise HlcliError(f"{path} cannot be read: {error.strerror or error}.") from error
            now = kept._replace(sha256=hashlib.sha256(content).hexdigest())
            complaint = _complaint(content, kept, now, path)
            if complaint is not None:
                logger.warning("%s is damaged: %s.", path, complaint)
                add(item.file, kept._replace(num_bytes=DAMAGED))
                damaged.add(item)
            elif now != kept:
                add(item.file, now)
            bar.advance()
    present = [item for item in plan.present if item not in damaged]
    return plan._replace(present=present, wanted=[*plan.wanted, *(item for item in plan.present if item in damaged)])


def _complaint(content: bytes, kept: Kept, now: Kept, path: Path) -> str | None:
    if kept.sha256 is None:
        return not_an_image(content, str(path))
    return None if now.sha256 == kept.sha256 else f"sha256 is {now.sha256}, it was {kept.sha256}"
