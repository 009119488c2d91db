"""How Intentonomy's files are fetched: the annotations, then the photos they list, one by one from Unsplash."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile, Source
from hlcli.data.datasets.intentonomy_annotations import annotation_name, read_annotations
from hlcli.data.datasets.intentonomy_labels import COUNTS, SPLITS
from hlcli.data.transfers.archive_download import fetch_sources, hold_folder, open_session
from hlcli.data.transfers.archive_plan import plan as plan_sources
from hlcli.data.transfers.checksums import complaint_about
from hlcli.data.transfers.crawl import CrawlPlan, ImageItem, plan_crawl
from hlcli.data.transfers.manifest import Manifest
from hlcli.data.transfers.photos import crawl_photos, plan_photos
from hlcli.errors import InputError
from hlcli.files import whole_file
from hlcli.plain_text import counted

logger = logging.getLogger(__name__)

_NAME = "intentonomy"
_PUBLISHED_PHOTO_BYTES = 1_600_000
_BYTES_PER_SQUARE_WIDTH = 0.17
"""All photos take about 1 GB at 640 pixels."""


def download(sources: Sequence[Source], folder: Path, options: DownloadOptions) -> DownloadReport:
    """Fetch annotation files, then the photos they list; with `options.parts` no photos.

    Args:
        sources: the published files.
        folder: becomes the official layout.
        options: how.

    Raises:
        DownloadError: when an annotation file cannot be had, or a host keeps sending us away.
        DataError: when an annotation file is damaged.
        InputError: when a file placed by hand is not the published one, photos on disk were fetched with other
            options, or options do not go together.
    """
    given = _given_annotations(options)
    with open_session(options) as session, hold_folder(folder, options):
        if not given:
            fetched = fetch_sources(_NAME, sources, folder, options, session)
            if options.parts:
                return DownloadReport(_NAME, folder, fetched.present, fetched.new, fetched.missing, None, "file")
        todo = _plan_photos(given or _annotations(folder), folder, options)
        for path in given:
            _adopt(path, sources, folder, options)
        return crawl_photos(_NAME, todo, folder, options, session, hand_placed=_hand_placed(options.source))


def plan(sources: Sequence[Source], folder: Path, options: DownloadOptions) -> list[PlannedFile]:
    """What `download` would do, without writing or asking anybody.

    Raises:
        InputError: when photos on disk were fetched with other options, or options do not go together.
    """
    given = _given_annotations(options)
    if options.parts:
        return plan_sources(_NAME, sources, folder, options)
    paths = given or [path for path in _annotations(folder) if path.exists()]
    todo = _plan_photos(paths, folder, options)
    known = {path.name for path in paths}
    unlisted = 0 if given else sum(COUNTS[s].num_images for s in SPLITS if annotation_name(s) not in known)
    photos = len(todo.wanted) + unlisted
    own = () if given else sources
    rows = plan_sources(_NAME, own, folder, options, photos=photos, photo_bytes=_photo_bytes(options.width))
    rows += plan_photos(todo)
    if unlisted:
        rows.append(PlannedFile(counted(unlisted, "photo"), "not listed yet", "unknown"))
    return rows


def _annotations(folder: Path) -> list[Path]:
    return [folder / annotation_name(split) for split in SPLITS]


def photo_url(published: str, width: int) -> str:
    """The address of a photo at a width; 0 leaves it as published, as is what is no address.

    Only adds to what is there: the published quality and application id stay. The format is fixed, because the
    server would otherwise choose one by what we seem to like.
    """
    if width == 0 or not published.startswith(("https://", "http://")):
        return published
    return f"{published}{'&' if urlsplit(published).query else '?'}w={width}&fit=max&fm=jpg"


def _photo_bytes(width: int) -> int:
    """About how many bytes a photo has at a width; 0 is as published."""
    return min(_PUBLISHED_PHOTO_BYTES, round(_BYTES_PER_SQUARE_WIDTH * width**2)) if width else _PUBLISHED_PHOTO_BYTES


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
    """The user's own annotation files.

    Raises:
        InputError: when there is none of that name, or parts were asked for besides.
    """
    if options.annotations and options.parts:
        raise InputError(
            "--json and --part do not go together: with annotation files of one's own only their photos are fetched.",
            "Leave one of them out.",
        )
    for path in options.annotations:
        if not path.is_file():
            raise InputError(f"--json {path}: there is no such file.")
    return list(options.annotations)


def _adopt(path: Path, sources: Sequence[Source], folder: Path, options: DownloadOptions) -> None:
    """Copy an annotation file of the user's beside the photos, where `preprocess` looks for it."""
    published = next((source for source in sources if source.name == path.name), None)
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
