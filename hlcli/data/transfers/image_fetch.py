"""One image from the web or from disk: whole and decodable, or a reason why not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.data.images import load_image
from hlcli.data.transfers.session import Refused, Session, Transient
from hlcli.errors import DataError, HlcliError

if TYPE_CHECKING:
    import httpx

_LARGEST_IMAGE_BYTES = 256 << 20
_PLACEHOLDER = "photo_unavailable"
_ACCEPT = "image/jpeg,image/png;q=0.9,image/*;q=0.5"


def fetch_image(session: Session, url: str) -> bytes:
    """The bytes of an image on the web.

    Raises:
        Refused: when the URL does not give one; bytes that cannot be decoded are asked for once more. A picture that
            cannot be decoded either time is gone; a web page may be the network's own, and is not.
    """
    undecodable = 0

    def attempt() -> bytes:
        nonlocal undecodable
        with session.get(url, {"Accept": _ACCEPT}) as response:
            if response.status_code != 200:
                raise Refused(f"HTTP {response.status_code} was not asked for", status=response.status_code)
            if _PLACEHOLDER in response.url.path:  # Flickr's picture that says so, with status 200
                raise Refused("the photo is no longer available", status=200, final_url=str(response.url), is_gone=True)
            content = _read(session, response)
            complaint = not_an_image(content, "as sent")
            if complaint is None:
                return content
            undecodable += 1
            kind = response.headers.get("Content-Type", "unknown type").split(";")[0]
            is_page = kind == "text/html"
            if is_page or undecodable > 1:
                final_url = str(response.url)
                raise Refused(f"{complaint} ({kind})", status=200, final_url=final_url, is_gone=not is_page)
            raise Transient(f"{complaint} ({kind})")

    return session.persist(url, attempt)


def _read(session: Session, response: httpx.Response) -> bytes:
    content = bytearray()
    for chunk in session.body(response):
        content += chunk
        if len(content) > _LARGEST_IMAGE_BYTES:
            raise Refused(f"more than {_LARGEST_IMAGE_BYTES:,} bytes", final_url=str(response.url))
    return bytes(content)


def read_whole_image(path: Path) -> bytes | str | None:
    """The bytes of an image file, or what is wrong with it, or None if there is none.

    Raises:
        HlcliError: when the file is there but cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HlcliError(f"{path} cannot be read: {error.strerror or error}.") from error
    complaint = not_an_image(content, str(path))
    return content if complaint is None else complaint


def not_an_image(content: bytes, name: str) -> str | None:
    """Why bytes are not a whole image; None when they can be decoded to the last pixel."""
    try:
        load_image(content, name=name)
    except DataError as error:
        return error.message.rstrip(".")
    return None
