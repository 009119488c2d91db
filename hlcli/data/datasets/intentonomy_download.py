"""Where Intentonomy's files come from, and how they are fetched.

The annotation files' first home (Cornell Box) has not answered since 2024, so they are taken from the repository of
the HLEG reference, at a fixed commit. Photos are fetched one by one from Unsplash.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile
from hlcli.data.datasets.intentonomy_annotations import annotation_name, matrix_name, read_annotations
from hlcli.data.datasets.intentonomy_labels import COUNTS, SPLITS
from hlcli.data.transfers.checksums import Checksum, complaint_about
from hlcli.data.transfers.crawl import CrawlPlan, ImageItem, plan_crawl
from hlcli.data.transfers.manifest import Manifest, lock_folder
from hlcli.data.transfers.photos import crawl_photos
from hlcli.data.transfers.session import Session
from hlcli.data.transfers.transfer import fetch_file
from hlcli.errors import DownloadError, InputError
from hlcli.files import whole_file

logger = logging.getLogger(__name__)

_REPOSITORY = "https://raw.githubusercontent.com/ShiQingHongYa/HLEG"
MIRRORS = (
    f"{_REPOSITORY}/146f20d7b0ff74a1b66158ac81597a1f71131cfb/data/intentonomy",
    f"{_REPOSITORY}/main/data/intentonomy",
)
SHARE_PAGES = {
    annotation_name("train"): "https://cornell.box.com/s/rff4fuq20t7tc4edx2wl0golh64zf9qh",
    annotation_name("val"): "https://cornell.box.com/s/3dmyavfpyyayxylfo9fzmaj1v2j0gqmk",
    annotation_name("test"): "https://cornell.box.com/s/3ep2w96qf91w9qvqop2ri95g0e3fx4zj",
}


class Published(NamedTuple):
    """A file as published."""

    name: str
    checksum: Checksum
    size: int | None = None
    is_required: bool = True


PUBLISHED = (
    Published(annotation_name("train"), Checksum("git-sha1", "f2c636383a5dcd7042f96740ef25488b48852a65")),
    Published(
        annotation_name("val"),
        Checksum("sha256", "46ed3c6621a2009f1b310822c9af298c8fcf940aa5b24168b3808225162d5049"),
        230_279,
    ),
    Published(
        annotation_name("test"),
        Checksum("sha256", "f1364696c754f5526446a2226995ccfdb293291704c414198529c2fa6757e27d"),
        561_171,
    ),
    Published(
        matrix_name("train"),
        Checksum("sha256", "fff27ca1da9e4c6f3557f6f308cae1d2a1eb7bb3ce01855f74dc521fb3b86e60"),
        2_853_888,
        is_required=False,
    ),
    Published(
        matrix_name("val"),
        Checksum("sha256", "a0fd647785402c585b29e16db56906178cf410c6663df07d1aaa422c0b515c71"),
        111_680,
        is_required=False,
    ),
    Published(
        matrix_name("test"),
        Checksum("sha256", "df5ccd07ec6f49a07f045dbb2c9cbcfc54bc3feef49d7bcdae14a8ac8e4dbb6f"),
        is_required=False,
    ),
)


def download(folder: Path, options: DownloadOptions) -> DownloadReport:
    """Fetch annotation files, then the photos they list.

    Args:
        folder: becomes the official layout.
        options: how.

    Raises:
        DownloadError: when an annotation file cannot be had, or a host keeps sending us away.
        DataError: when an annotation file is damaged.
        InputError: when photos on disk were fetched with other options.
    """
    with lock_folder(folder):
        if options.offline:
            return _download(folder, options, None)
        with Session() as session:
            return _download(folder, options, session)


def _download(folder: Path, options: DownloadOptions, session: Session | None) -> DownloadReport:
    paths = _given_annotations(options) or _fetch_annotations(folder, options, session)
    todo = _plan_photos(paths, folder, options)
    for path in options.annotations:
        _adopt(path, folder, options)
    return crawl_photos("intentonomy", todo, folder, options, session, hand_placed=_hand_placed(options.source))


def plan(folder: Path, options: DownloadOptions) -> list[PlannedFile]:
    """What `download` would do, without writing or asking anybody.

    Raises:
        InputError: when photos on disk were fetched with other options.
    """
    rows = []
    paths = _given_annotations(options)
    for file in () if options.annotations else PUBLISHED:
        path = folder / file.name
        state = "present" if path.exists() else "missing"
        partial = path.with_name(f"{path.name}.part")
        state = "partial" if partial.exists() else state
        size = "0 bytes" if state == "present" else "unknown" if file.size is None else f"{file.size:,} bytes"
        rows.append(PlannedFile(file.name, state, size))
        if path.exists() and path.suffix == ".json":
            paths.append(path)
    todo = _plan_photos(paths, folder, options)
    for state, photos, size in (
        ("present", todo.present, "0 bytes"),
        ("missing", todo.wanted, "unknown"),
        ("gone", todo.gone, "0 bytes"),
    ):
        if photos:
            rows.append(PlannedFile(f"{len(photos):,} photos", state, size))
    known = {path.name for path in paths}
    unlisted = (
        0 if options.annotations else sum(COUNTS[s].num_images for s in SPLITS if annotation_name(s) not in known)
    )
    if unlisted:
        rows.append(PlannedFile(f"{unlisted:,} photos", "not listed yet", "unknown"))
    return rows


def photo_url(published: str, width: int) -> str:
    """The address of a photo at a width; 0 leaves it as published.

    Only adds to what is there: the published quality and application id stay. The format is fixed, because the
    server would otherwise choose one by what we seem to like.
    """
    if width == 0:
        return published
    return f"{published}{'&' if urlsplit(published).query else '?'}w={width}&fit=max&fm=jpg"


def photo_widths(folder: Path) -> list[int]:
    """The widths at which photos were fetched, 0 for as published; none for photos that came another way."""
    addresses = {kept.url for kept in Manifest(folder).files.values() if kept.url is not None}
    values = {parse_qs(urlsplit(address).query).get("w", ["0"])[0] for address in addresses}
    return sorted(int(value) for value in values if value.isdecimal())


def _plan_photos(paths: list[Path], folder: Path, options: DownloadOptions) -> CrawlPlan:
    items = [
        ImageItem(entry.image_id, photo_url(entry.url, options.width), entry.file)
        for path in paths
        for entry in read_annotations(path)
    ]
    retry = options.retry_failed or options.source is not None
    return plan_crawl(items, folder, overwrite=options.overwrite, retry_failed=retry)


def _hand_placed(source: Path | None) -> Callable[[ImageItem], Path | None]:
    """Where a photo may lie in a folder filled by hand."""

    def find(item: ImageItem) -> Path | None:
        if source is None:
            return None
        places = (source / item.file, source / "images" / item.file, source / Path(item.file).name)
        return next((place for place in places if place.is_file()), None)

    return find


def _given_annotations(options: DownloadOptions) -> list[Path]:
    """The user's own annotation files."""
    for path in options.annotations:
        if not path.is_file():
            raise InputError(f"--json {path}: there is no such file.")
    return list(options.annotations)


def _adopt(path: Path, folder: Path, options: DownloadOptions) -> None:
    """Copy an annotation file of the user's beside the photos, where `preprocess` looks for it."""
    published = next((file for file in PUBLISHED if file.name == path.name), None)
    if published is not None and complaint_about(path, published.checksum, None):
        logger.warning("%s differs from the file that was published under this name.", path)
    target = folder / path.name
    content = path.read_bytes()
    if target.exists() and target.read_bytes() == content:
        return
    if target.exists() and not options.overwrite:
        raise InputError(f"{target} exists and differs from {path}.", "Give --overwrite to replace it.")
    with whole_file(target, "wb") as handle:
        handle.write(content)


def _fetch_annotations(folder: Path, options: DownloadOptions, session: Session | None) -> list[Path]:
    """Make sure the published files are there; return the annotation files."""
    complaints: list[str] = []
    for file in PUBLISHED:
        if complaints and not file.is_required:
            continue
        try:
            _fetch_published(file, folder, options, session)
        except DownloadError as error:
            if file.is_required:
                complaints.append(f"{error.message} By hand: {SHARE_PAGES[file.name]}")
            else:
                logger.warning("%s Nothing but a comparison of labels needs it.", error.message)
    if complaints:
        raise DownloadError(
            "\n".join(complaints),
            f"Put the files into {folder} or give their folder with --from DIR; `--json FILE…` takes some splits only.",
        )
    return [folder / annotation_name(split) for split in SPLITS]


def _fetch_published(file: Published, folder: Path, options: DownloadOptions, session: Session | None) -> None:
    """Put a published file into the folder: as it is there, from the hand-filled folder, or from a mirror."""
    target, checksum = folder / file.name, file.checksum if options.verify else None
    if target.exists() and not options.overwrite:
        complaint = complaint_about(target, checksum, None)
        if complaint is None:
            return
        raise InputError(
            f"{target}: {complaint}. The file is damaged or not the published one.",
            "Delete it and run the command again, or give --no-verify to use it as it is.",
        )
    if options.source is not None:
        for given in (options.source / file.name, options.source / "annotations" / file.name):
            if given.is_file():
                complaint = complaint_about(given, checksum, None)
                if complaint is not None:
                    raise InputError(f"{given}: {complaint}.", "Give --no-verify to use it as it is.")
                with whole_file(target, "wb") as handle:
                    handle.write(given.read_bytes())
                return
    if session is None:
        raise DownloadError(f"{target} is missing, and nothing is fetched offline.")
    logger.info("Fetching %s.", file.name)
    mirrors = ((options.mirror.rstrip("/"),) if options.mirror else ()) + MIRRORS
    fetch_file(
        [f"{mirror}/{file.name}" for mirror in mirrors],
        target,
        session=session,
        checksum=checksum,
        size=file.size if options.verify else None,
    )
