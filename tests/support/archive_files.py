"""Small archives, good and bad, made up."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from typing import Any


def make_zip(files: Mapping[str, bytes], modes: Mapping[str, int] | None = None) -> bytes:
    """A zip archive; `modes` are Unix file modes of members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def make_tar(files: Mapping[str, bytes], compression: str = "") -> bytes:
    """A tar archive; `compression` is `gz`, `bz2`, `xz` or nothing."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            add_to_tar(archive, name, content)
    return buffer.getvalue()


def add_to_tar(archive: tarfile.TarFile, name: str, content: bytes = b"", **attributes: Any) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in attributes.items():
        setattr(entry, key, value)
    archive.addfile(entry, io.BytesIO(content))


def make_odd_tar(name: str, **attributes: Any) -> bytes:
    """A tar archive with a good file and a member of another kind."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        add_to_tar(archive, "good.txt", b"good")
        add_to_tar(archive, name, **attributes)
    return buffer.getvalue()
