"""What servers do wrong, and how `hlcli download` ends: the same names and ends as in docs/downloads.md."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import NamedTuple

from archive_files import make_tar, make_zip
from faulty_server import Fault

from hlcli.data.transfers.patience import Patience

_RANDOM = random.Random(7)
IMAGES = {f"kit/images/{i}.jpg": _RANDOM.randbytes(100_000) for i in range(3)}
KIT = make_tar(IMAGES)
_LENGTH = len(KIT)
_OTHER = make_tar({name: content[::-1] for name, content in IMAGES.items()})
_PAGE = b"<html>please log in</html>"
_FIRST, _MIRROR, _NOBODY = "/first/kit.tar", "/mirror/kit.tar", "http://127.0.0.1:9/kit.tar"
_HASTY = Patience(read_seconds=0.5)


class Misbehaviour(NamedTuple):
    """What happens to an archive on its way.

    Args:
        faults: of the first server, request by request.
        always: its fault ever after; without one it is good then.
        end: exit code of the command.
        says: text on stderr; a pattern.
        asked: first bytes of the ranges that the first server was asked for; None where that depends on buffers.
        urls: where the archive lies: paths on the server, or addresses.
        is_published: whether size and sum are known.
        published: the archive that size and sum belong to.
        patience: of the command.
        listed: what the list of failures says of a photo; a pattern.
    """

    faults: tuple[Fault, ...] = ()
    always: Fault | None = None
    end: int = 0
    says: str = ""
    asked: tuple[int, ...] | None = None
    urls: tuple[str, ...] = (_FIRST,)
    is_published: bool = True
    published: bytes = KIT
    patience: Patience = Patience(read_seconds=5)
    listed: str = ""


def _after_a_cut(fault: Fault, *asked: int, always: bool = False, **more: bool) -> Misbehaviour:
    """A transfer that broke off, and a server that misbehaves when asked for the rest."""
    faults = (_CUT,) if always else (_CUT, fault)
    return Misbehaviour(faults, fault if always else None, asked=(*_REST, *asked), **more)  # type: ignore[arg-type]


def _page(status: int, **headers: str) -> Fault:
    return Fault(status=status, body=_PAGE, headers={"Content-Type": "text/html", **headers})


def _photo(fault: Fault, end: int, listed: str, times: int) -> Misbehaviour:
    """A photo that is never right."""
    return Misbehaviour(always=fault, end=end, says=r"1 photo missing", listed=listed, asked=(0,) * times)


def _always_busy(status: int) -> Misbehaviour:
    """A photo whose host is busy for it alone."""
    listed = rf"HTTP {status} \(asked \d+ times\)"
    return Misbehaviour(always=_busy(status, None), end=3, says=r"1 photo missing", listed=listed)


def _with_etag(etag: str | None) -> Fault:
    return Fault(drop_after=100_000, headers={"ETag": etag})


def _range(first: int, last: int, total: int | str, status: int = 206) -> Fault:
    return Fault(status=status, body=KIT[first : last + 1], headers={"Content-Range": f"bytes {first}-{last}/{total}"})


def _busy(status: int, after: str | None) -> Fault:
    return Fault(status=status, headers={"Retry-After": after})


_CUT = Fault(drop_after=100_000)
_REST = (0, 100_000)
_WITHOUT_LENGTH: dict[str, str | None] = {"Content-Length": None}
_SOON = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)

_BODIES = {
    "body cut short": Misbehaviour((_CUT,), asked=_REST),
    "body cut short twelve times": Misbehaviour(
        (Fault(drop_after=20_000),) * 12, asked=tuple(range(0, 240_001, 20_000))
    ),
    "body always cut short at the same byte, Range ignored": Misbehaviour(
        always=Fault(drop_after=100_000, ignore_range=True),
        end=1,
        says=r"received 100000 bytes, expected 307200.*\(asked 5 times\)",
    ),
    "connection reset in the middle": Misbehaviour((Fault(drop_after=100_000, reset=True),)),
    "connection closed without an answer": Misbehaviour((Fault(raw=b""),) * 2, asked=(0, 0, 0)),
    "an answer that is not HTTP": Misbehaviour((Fault(raw=b"220 ready\r\n\r\n"),), asked=(0, 0)),
    "an answer that is never HTTP": Misbehaviour(
        always=Fault(raw=b"220 ready\r\n\r\n"), end=1, says="RemoteProtocolError"
    ),
    "wrong Content-Length: too large": Misbehaviour(
        always=Fault(headers={"Content-Length": "400000"}, drop_after=10**9), end=1, says="400,000 bytes .* expected"
    ),
    "wrong Content-Length: too large, no sum published": Misbehaviour(
        (Fault(headers={"Content-Length": "400000"}, drop_after=10**9),), asked=(0, _LENGTH), is_published=False
    ),
    "wrong Content-Length: too small": Misbehaviour((Fault(headers={"Content-Length": "50000"}),), asked=(0, 0)),
    "wrong Content-Length: too small, no sum published": Misbehaviour(
        always=Fault(headers={"Content-Length": "50000"}), end=1, says="is damaged", is_published=False
    ),
    "no Content-Length, cut short": Misbehaviour((Fault(headers=_WITHOUT_LENGTH, drop_after=100_000),), asked=_REST),
    "no Content-Length, cut short, no sum published": Misbehaviour(
        (Fault(headers=_WITHOUT_LENGTH, drop_after=100_000),), end=1, says="is damaged", is_published=False
    ),
    "chunked body cut short": Misbehaviour((Fault(chunked=True, drop_after=100_000),), asked=_REST),
    "more bytes than published": Misbehaviour(
        always=Fault(body=KIT + bytes(10**6), headers=_WITHOUT_LENGTH, drop_after=10**9), end=1, says="more than the"
    ),
    "empty body": Misbehaviour((Fault(body=b""),), asked=(0, 0)),
    "gzip encoding": Misbehaviour((Fault(gzip=True),), asked=(0,)),
    "gzip encoding cut short": Misbehaviour((Fault(gzip=True, drop_after=100_000),), asked=(0, 0)),
}

_RESUMPTIONS = {
    "Range ignored": _after_a_cut(Fault(ignore_range=True), 100_000),
    "Range always ignored": _after_a_cut(Fault(ignore_range=True), 100_000, always=True),
    "wrong Content-Range": _after_a_cut(Fault(wrong_content_range=True), 0),
    "Content-Range of a longer file": _after_a_cut(_range(100_000, _LENGTH - 1, 999_999), 0),
    "206 with another part": _after_a_cut(_range(5, 49, _LENGTH), 0),
    "206 without a Content-Range": _after_a_cut(Fault(status=206, body=KIT[100_000:]), 0),
    "206 without being asked for a part": Misbehaviour((_range(0, 49, _LENGTH),), asked=(0, 0)),
    "416 without a total": _after_a_cut(Fault(status=416), 0),
    "416 with another total": _after_a_cut(Fault(status=416, headers={"Content-Range": "bytes */5"}), 0),
    "416 because all bytes are there": Misbehaviour(
        (Fault(chunked=True, drop_after=_LENGTH),), asked=(0, _LENGTH), is_published=False
    ),
    "changed ETag": _after_a_cut(Fault(headers={"ETag": '"new"'}, ignore_range=True)),
    "changed ETag, If-Range ignored": _after_a_cut(Fault(headers={"ETag": '"new"'}, ignore_if_range=True), 0),
    "If-Range answered with the whole file, same ETag": _after_a_cut(Fault(refuse_if_range=True), 100_000),
    "weak ETag": Misbehaviour((_with_etag('W/"1"'), Fault(headers={"ETag": 'W/"1"'})), asked=_REST),
    "weak ETag, no sum published": Misbehaviour((_with_etag('W/"1"'),), asked=(0, 0), is_published=False),
    "no ETag and no date, no sum published": Misbehaviour((_with_etag(None),), asked=(0, 0), is_published=False),
    "ETag beyond ASCII": Misbehaviour((_with_etag('"é"'), Fault(headers={"ETag": '"é"'})), asked=_REST),
    "ETag beyond ASCII, no sum published": Misbehaviour((_with_etag('"é"'),), asked=(0, 0), is_published=False),
    "gzip encoding of the rest": _after_a_cut(Fault(gzip=True), 0),
}

_STATUSES = {
    "500 twice": Misbehaviour((Fault(status=500),) * 2, asked=(0, 0, 0)),
    "500 always": Misbehaviour(always=Fault(status=500), end=1, says=r"HTTP 500 .* \(asked 5 times\)"),
    "502, then 504": Misbehaviour((Fault(status=502), Fault(status=504)), asked=(0, 0, 0)),
    "408": Misbehaviour((Fault(status=408),), asked=(0, 0)),
    "503 with Retry-After in seconds": Misbehaviour((_busy(503, "70"),), asked=(0, 0)),
    "503 with Retry-After as a date": Misbehaviour((_busy(503, _SOON),), asked=(0, 0)),
    "429 without Retry-After": Misbehaviour((_busy(429, None),), asked=(0, 0)),
    "429 for a whole day": Misbehaviour(always=_busy(429, "86400"), end=1, says="is busy and asks to wait 86,400 s"),
    "429 for a whole day, then a mirror": Misbehaviour(always=_busy(429, "86400"), asked=(0,), urls=(_FIRST, _MIRROR)),
    "401": Misbehaviour(always=_page(401), end=1, says="HTTP 401 Unauthorized", asked=(0,)),
    "403": Misbehaviour(always=_page(403), end=1, says="HTTP 403 Forbidden", asked=(0,)),
    "404": Misbehaviour(always=_page(404), end=1, says="HTTP 404 Not Found", asked=(0,)),
    "410": Misbehaviour(always=_page(410), end=1, says="HTTP 410 Gone", asked=(0,)),
    "404, then a mirror": Misbehaviour(always=_page(404), asked=(0,), urls=(_FIRST, _MIRROR)),
}

_SLOWNESS = {
    "slow trickle": Misbehaviour((Fault(trickle=(60_000, 0.02)),), asked=(0,)),
    "trickle that hardly moves": Misbehaviour(
        (Fault(trickle=(500, 0.03)),), patience=Patience(stall_seconds=0.2, stall_bytes=100_000)
    ),
    "silence before the answer": Misbehaviour((Fault(delay=60),), asked=(0, 0), patience=_HASTY),
    "silence in the middle": Misbehaviour((Fault(trickle=(100_000, 60)),), asked=_REST, patience=_HASTY),
    "silence always": Misbehaviour(
        always=Fault(delay=60), end=1, says="ReadTimeout", patience=Patience(read_seconds=0.1)
    ),
    "nobody listens": Misbehaviour(end=1, says="ConnectError", urls=(_NOBODY,)),
    "nobody listens, then a mirror": Misbehaviour(urls=(_NOBODY, _MIRROR)),
}

_REDIRECTS = {
    "redirect": Misbehaviour(always=_page(302, Location=_MIRROR), asked=(0,)),
    "redirect loop": Misbehaviour(always=_page(302, Location=_FIRST), end=1, says="TooManyRedirects"),
    "redirect to a login page": Misbehaviour(
        always=_page(302, Location="/login"), end=1, says=r"26 bytes \(text/html\), expected"
    ),
    "redirect to another protocol": Misbehaviour(
        always=_page(302, Location="ftp://127.0.0.1/kit.tar"), end=1, says="UnsupportedProtocol"
    ),
}

_CONTENTS = {
    "web page instead of the archive, status 200": Misbehaviour(
        always=_page(200), end=1, says=r"26 bytes \(text/html\), expected"
    ),
    "web page instead of the archive, no sum published": Misbehaviour(
        always=_page(200), end=1, says="not an archive, perhaps a web page", is_published=False
    ),
    "wrong bytes once": Misbehaviour((Fault(body=_OTHER),), asked=(0, 0)),
    "wrong bytes always": Misbehaviour(always=Fault(body=_OTHER), end=1, says="sha256 is .*, expected", asked=(0, 0)),
    "wrong bytes, then a mirror": Misbehaviour(always=Fault(body=_OTHER), asked=(0, 0), urls=(_FIRST, _MIRROR)),
    "the file was replaced by a newer one": Misbehaviour(
        always=Fault(body=_OTHER + bytes(10_240)), end=1, says=f"{_LENGTH + 10_240:,} bytes .* expected {_LENGTH:,}"
    ),
    "damaged archive, no sum published": Misbehaviour(
        always=Fault(body=KIT[:200_000]), end=1, says="is damaged.*It was removed", is_published=False
    ),
    "malicious archive with the published sum": Misbehaviour(
        always=Fault(body=make_zip({"../evil.txt": b"!"})),
        end=2,
        says="leads out of the folder",
        published=make_zip({"../evil.txt": b"!"}),
    ),
}

ARCHIVES = _BODIES | _RESUMPTIONS | _STATUSES | _SLOWNESS | _REDIRECTS | _CONTENTS

PHOTOS = {
    "photo: 404": _photo(_page(404), 3, "HTTP 404", 1),
    "photo: 410": _photo(_page(410), 3, "HTTP 410", 1),
    "photo: 500 always": _photo(Fault(status=500), 3, r"HTTP 500 .*asked 5 times", 5),
    "photo: redirect to a placeholder": _photo(
        _page(302, Location="/photo_unavailable.png"), 3, "no longer available", 1
    ),
    "photo: redirect to a web page": _photo(_page(302, Location="/page"), 3, "text/html", 1),
    "photo: web page, status 200": _photo(_page(200), 3, "text/html", 1),
    "photo: always cut short": _photo(Fault(drop_after=300), 3, "asked 5 times", 5),
    "photo: damaged, with the right length": _photo(
        Fault(body=b"\xff\xd8\xff\xe0" + bytes(500)), 3, "cannot be decoded", 2
    ),
    "photo: cut short once": Misbehaviour((Fault(drop_after=300),), asked=(0, 0)),
    "photo: 429 once": Misbehaviour((_busy(429, "30"),), asked=(0, 0)),
    "photo: 429 always": _always_busy(429),
    "photo: 503 always": _always_busy(503),
    "photo: 429 for a whole day": Misbehaviour(always=_busy(429, "86400"), end=1, says="asks to wait 86,400 s"),
}

ENCRYPTED = {
    "nothing wrong, over https": Misbehaviour(),
    "redirect from https to http": Misbehaviour(end=1, says="redirect from https to http://"),
    "certificate nobody vouches for": Misbehaviour(end=1, says="CERTIFICATE_VERIFY_FAILED"),
}
