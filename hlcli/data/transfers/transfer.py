"""Fetching one file, however long it takes: resumable, verified, and whole or not there.

While it is fetched, `name.part` holds the bytes and `name.part.json` what is needed to go on with them.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.data.transfers.checksums import Checksum, Digest, complaint_about, feed
from hlcli.data.transfers.patience import HostUnavailable
from hlcli.data.transfers.room import MAKE_ROOM, how_to_mend
from hlcli.data.transfers.session import Refused, Session, Transient
from hlcli.errors import DownloadError
from hlcli.files import free_bytes, sync_folder, write_json
from hlcli.json_text import read_json

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")

OnBytes = Callable[[int, int | None], None]
"""Is told how many bytes are there and how many there will be."""


def fetch_file(
    urls: Sequence[str],
    target: Path,
    *,
    session: Session,
    checksum: Checksum | None = None,
    size: int | None = None,
    on_bytes: OnBytes | None = None,
) -> None:
    """Fetch a file; whatever stood under its name is replaced when the new one is complete and verified.

    Args:
        urls: the same file on several servers, best first.
        target: the final name.
        session: sends the requests.
        checksum: the published sum; None believes the server.
        size: the published number of bytes.
        on_bytes: called as bytes come in.

    Raises:
        DownloadError: when no server gives the expected file, or the disk is full.
    """
    complaints: list[str] = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for number, url in enumerate(urls, start=1):
            if _fetch_verified(_Fetch(session, url, _Part(target), checksum, size, on_bytes), complaints):
                return
            if number < len(urls):
                logger.warning("%s; asking the next address.", complaints[-1])
    except OSError as error:
        message = f"{target} cannot be written: {error.strerror or error}."
        raise DownloadError(message, how_to_mend(error)) from error
    raise DownloadError(f"{target.name} could not be fetched: {'; '.join(complaints)}.")


def _fetch_verified(fetch: _Fetch, complaints: list[str]) -> bool:
    """Fetch from one server, a second time from zero if the bytes are wrong; says whether the file is there."""
    for _ in range(2):
        try:
            digest = fetch.session.persist(fetch.url, fetch.attempt, fetch.progressed)
            fetch.finish(digest)
            return True
        except _Mismatch as error:
            fetch.part.discard()
            complaint = f"{fetch.url}: {error}"
        except (Refused, HostUnavailable) as error:
            complaints.append(f"{fetch.url}: {error}".rstrip("."))
            return False
    complaints.append(complaint)
    return False


class _Mismatch(Exception):
    """The bytes are not the file that was expected."""


@dataclass(frozen=True)
class _Source:
    """Where the bytes of a `.part` file came from."""

    url: str
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What `If-Range` may carry: a strong ETag that a header can hold, else a date."""
        strong = self.etag is not None and not self.etag.startswith("W/") and self.etag.isascii()
        return self.etag if strong else self.last_modified


class _Part:
    """The unfinished file and its sidecar."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.sidecar = target.with_name(f"{target.name}.part.json")

    def num_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def source(self) -> _Source | None:
        try:
            source = _Source(**read_json(self.sidecar))
            texts = (source.url, source.etag or "", source.last_modified or "")
            return source if all(isinstance(text, str) for text in texts) and type(source.total or 0) is int else None
        except (OSError, ValueError, TypeError):  # missing, torn, or of another version
            return None

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.sidecar.unlink(missing_ok=True)


@dataclass
class _Fetch:
    """One file from one URL, attempt after attempt."""

    session: Session
    url: str
    part: _Part
    checksum: Checksum | None
    size: int | None
    on_bytes: OnBytes | None
    farthest: int = 0
    ask_plainly: bool = False

    def attempt(self) -> str | None:
        """Fetch what is missing; return the checksum of the whole if it could be computed on the way."""
        have, source = self._have()
        total = self._total(source)
        if have and have == total:
            return None
        with self.session.get(self.url, self._headers(have, source)) as response:
            offset = self._offset(response, have, source)
            return None if offset is None else self._receive(response, offset)

    def progressed(self) -> bool:
        """Whether there are more bytes than there ever were."""
        now = self.part.num_bytes()
        more, self.farthest = now > self.farthest, max(now, self.farthest)
        return more

    def finish(self, digest: str | None) -> None:
        """Give the file its final name if it is what was expected."""
        checksum = self.checksum
        if checksum is not None and digest is not None and digest != checksum.value:
            raise _Mismatch(f"{checksum.algorithm} is {digest}, expected {checksum.value}")
        complaint = complaint_about(self.part.path, None if digest else checksum, self.size)
        if complaint:
            raise _Mismatch(complaint)
        with open(self.part.path, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(self.part.path, self.part.target)
        sync_folder(self.part.target.parent)
        self.part.sidecar.unlink(missing_ok=True)

    def _total(self, source: _Source | None) -> int | None:
        return self.size if source is None or source.total is None else source.total

    def _have(self) -> tuple[int, _Source | None]:
        """How many bytes are there to go on with, and where they came from."""
        have, source = self.part.num_bytes(), self.part.source()
        if source is not None and source.url != self.url:  # a mirror's bytes are good if a checksum tells
            source = _Source(self.url, total=source.total) if self.checksum else None
        total = self._total(source)
        usable = source is not None and (source.validator or self.checksum) and (total is None or have <= total)
        if have and not usable:
            self.part.discard()
            return 0, None
        return have, source

    def _headers(self, have: int, source: _Source | None) -> dict[str, str]:
        if not have:
            return {}
        headers = {"Range": f"bytes={have}-"}
        if source is not None and source.validator and not self.ask_plainly:
            headers["If-Range"] = source.validator
        return headers

    def _offset(self, response: httpx.Response, have: int, source: _Source | None) -> int | None:
        """Where the body belongs; None when there was nothing left to send."""
        etag = response.headers.get("ETag")
        if response.status_code == 200:
            if have and not self.ask_plainly and source is not None and source.etag and source.etag == etag:
                self.ask_plainly = True  # some servers answer If-Range as if the file had changed
                raise Transient("the server sent the whole file instead of the rest")
            return 0
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        first, total = (match[1], match[3]) if match else (None, None)
        if response.status_code == 416:
            if have and total == str(have):
                return None
        elif have and first == str(have) and not _encoded(response) and _same_file(source, etag, total):
            return have
        self.part.discard()
        content_range = response.headers.get("Content-Range")
        raise Transient(f"HTTP {response.status_code} with Content-Range {content_range!r} for byte {have}")

    def _receive(self, response: httpx.Response, offset: int) -> str | None:
        """Write the body from `offset` on; return its checksum."""
        total = _announced_bytes(response, offset)
        if self.size is not None and total is not None and total != self.size:
            kind = response.headers.get("Content-Type", "unknown type").split(";")[0]
            raise _Mismatch(f"the server has {total:,} bytes ({kind}), expected {self.size:,}")
        total = self.size if total is None else total
        self._check_space(total, offset)
        if offset == 0:
            self._note_source(response, total)
        digest = self.checksum.start(total) if self.checksum else None
        if digest is not None and offset:
            feed(digest, self.part.path)
        done = self._write(self.session.body(response), digest, offset, total)
        if total is not None and done < total:
            raise Transient(f"the body ended after {done:,} of {total:,} bytes")
        return digest.hexdigest() if digest else None

    def _write(self, chunks: Iterable[bytes], digest: Digest | None, offset: int, total: int | None) -> int:
        """Append the chunks, or begin anew at offset 0; return how many bytes there are now."""
        done = offset
        with open(self.part.path, "ab" if offset else "wb") as handle:
            for chunk in chunks:
                handle.write(chunk)
                if digest is not None:
                    digest.update(chunk)
                done += len(chunk)
                if self.on_bytes is not None:
                    self.on_bytes(done, total)
                if self.size is not None and done > self.size:
                    raise _Mismatch(f"the server sends more than the {self.size:,} bytes that were expected")
        return done

    def _note_source(self, response: httpx.Response, total: int | None) -> None:
        """Remember what is needed to go on after an interruption; the old bytes go first."""
        self.part.discard()
        if not _encoded(response):
            headers = response.headers
            source = _Source(self.url, headers.get("ETag"), headers.get("Last-Modified"), total)
            write_json(self.part.sidecar, asdict(source))

    def _check_space(self, total: int | None, offset: int) -> None:
        free = free_bytes(self.part.path)
        if total is not None and total - offset > free:
            raise DownloadError(
                f"{self.part.target} needs {total - offset:,} more bytes, but {free:,} are free on its disk.",
                MAKE_ROOM,
            )


def _encoded(response: httpx.Response) -> bool:
    """Whether the body is compressed although we asked for it as it is."""
    return response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")


def _announced_bytes(response: httpx.Response, offset: int) -> int | None:
    """How long the whole file is according to the answer."""
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() and not _encoded(response) else None


def _same_file(source: _Source | None, etag: str | None, total: str | None) -> bool:
    """Whether the rest on offer belongs to the bytes that are there."""
    if source is None:
        return True
    if source.etag and etag and source.etag != etag:
        return False
    return source.total is None or total in ("*", str(source.total))
