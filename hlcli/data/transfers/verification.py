"""Looking again at what is there (`--verify`): files against their sums, photos against those they came with."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from hlcli.data.datasets.base import Source
from hlcli.data.transfers.archive_plan import fetched_path, stamp_path
from hlcli.data.transfers.checksums import Checksum, complaint_about
from hlcli.data.transfers.crawl import CrawlPlan, ImageItem
from hlcli.data.transfers.image_fetch import not_an_image
from hlcli.data.transfers.manifest import Kept, Manifest
from hlcli.errors import HlcliError
from hlcli.progress import Progress

logger = logging.getLogger(__name__)


def find_damaged(sources: Sequence[Source], folder: Path) -> list[Source]:
    """The files of a data set that differ from what they should be; from now on these do not count as fetched.

    A file without a published sum is compared with the one it had when it came. Of an archive that was removed after
    unpacking nothing can be compared: no sums of its content are known.

    Raises:
        HlcliError: when a file cannot be read.
    """
    damaged = []
    for source in sources:
        path, stamp = fetched_path(source, folder), stamp_path(source, folder)
        if not path.is_file():
            if stamp.exists():
                logger.info("%s was removed when it was unpacked: its content cannot be verified.", source.name)
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
            stamp.unlink(missing_ok=True)
            if source.urls and source.checksum is None:  # without its stamp nothing would tell
                path.unlink()
            damaged.append(source)
    return damaged


def _own_sum(stamp: Path) -> Checksum | None:
    """The sum that a file had when it was fetched."""
    try:
        value = json.loads(stamp.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, TypeError, KeyError):  # no stamp, or one of another version
        return None
    return Checksum("sha256", value) if isinstance(value, str) else None


def without_damaged_photos(plan: CrawlPlan, folder: Path) -> CrawlPlan:
    """A plan in which every photo that is there was read again; damaged ones are removed, and wanted.

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
                path.unlink()
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
