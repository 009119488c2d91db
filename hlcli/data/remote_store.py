"""Stores that lie elsewhere: `data.store: s3://bucket/coco/store`, or any other address that fsspec can read.

A store is memory-mapped, so it is copied to this machine once, and read from the copy until the original changes.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from hlcli.data.labels import LabelSpace
from hlcli.data.records import Record
from hlcli.errors import DataError, HlcliError, MissingDependencyError
from hlcli.files import free_bytes, sha256_of, whole_folder, writing
from hlcli.json_text import parse_json, read_json
from hlcli.progress import Progress

logger = logging.getLogger(__name__)

_CHUNK = 10**6
_NEEDED = {"meta.json", "labels.json"}
_WEB = ("http://", "https://")
_SILENT_SECONDS = 60
_GIVE = "Give the folder that `hlcli preprocess` made."
_TRY_AGAIN = "Was it written to meanwhile, or damaged on its way? Try again."


@cache
def local_store(address: str) -> Path:
    """The copy of a store on this disk; it is made where there is none of what lies at that address now.

    Several processes of a machine make one copy. It is checked by its sums, and appears when it is whole. Where the
    hub's library is told that there is no network (`HF_HUB_OFFLINE`), the newest copy is taken, if there is one.

    Args:
        address: of the store's folder, for example `s3://bucket/coco/store`.

    Raises:
        MissingDependencyError: when a package is needed for such addresses, naming it.
        DataError: when there is no store, it is damaged, or it changes while it is copied.
        HlcliError: when there is too little room on the disk.
    """
    import fsspec
    from filelock import FileLock
    from huggingface_hub import constants

    if address.startswith(_WEB) and "?" in address:
        raise DataError(
            f"{address}: the address of a store cannot end with a query.",
            "Files are looked for below it: leave ?… out.",
        )
    copies = _cache_folder() / hashlib.sha256(address.encode()).hexdigest()[:32]
    if constants.HF_HUB_OFFLINE and (kept := sorted(copies.glob("*/store"), key=lambda one: one.stat().st_mtime)):
        logger.info("HF_HUB_OFFLINE: %s is not asked; its newest copy is taken: %s.", address, kept[-1])
        return kept[-1]
    with _in_our_words(address):
        system, folder = fsspec.url_to_fs(address, **_patience(address))
        folder = folder.rstrip("/")
        meta = system.cat_file(f"{folder}/meta.json")
    copy = copies / hashlib.sha256(meta).hexdigest()[:32] / "store"
    if copy.is_dir():  # whole; perhaps on a disk that cannot be written
        return copy
    lock = copy.parent / "store.lock"
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            if not copy.is_dir():
                _copy(address, system, folder, copy, meta)
    return copy


def refuse_absent_images(records: Sequence[Record], address: str) -> None:
    """Stop at a store from elsewhere that says where its images lie, if the first does not lie there.

    Raises:
        DataError: naming the image.
    """
    image = records[0].image if len(records) else b""
    if isinstance(image, Path) and not image.is_file():
        raise DataError(
            f"{address} does not hold its images but says where they are, and {image} is missing.",
            "Prepare it with `hlcli preprocess --image-size`, so that it holds them.",
        )


def _cache_folder() -> Path:
    """Beside what the hub's library keeps."""
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(home) / "hlcli" / "stores"


def _patience(address: str) -> dict[str, Any]:
    """Options of a web server's file system: how long it may be silent, instead of five minutes for a file."""
    if not address.startswith(_WEB):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, connect=_SILENT_SECONDS, sock_read=_SILENT_SECONDS)}}


def _copy(address: str, system: Any, folder: str, copy: Path, meta: bytes) -> None:
    """Copy all files of a store, and check them; `meta` is what its `meta.json` said before."""
    sums = _sums(address, meta)
    with _in_our_words(address):
        found = system.find(folder, detail=True)
    sizes = {
        name: facts.get("size")
        for path, facts in found.items()
        if (name := path.removeprefix(f"{folder}/")) and "?" not in name  # with ?: Apache's links, no files
    }
    if lacking := _NEEDED - set(sizes):
        if address.startswith(_WEB):
            raise DataError(
                f"{address} cannot be copied: its server lists no {min(lacking)} there.",
                "It must show the files of a folder where the folder itself is asked for.",
            )
        raise DataError(f"{address} is no store: it has no {min(lacking)}.", _GIVE)
    for name in sizes:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"{address} is no store: a file in it is called {name!r}.")
    total, room = sum(size or 0 for size in sizes.values()), free_bytes(copy.parent)
    if total > room:
        raise HlcliError(
            f"{address} has {total:,} bytes, {copy.parent} has room for {room:,}.",
            "Make room, or let HF_HOME name a folder on a larger disk.",
        )
    done = 0
    with whole_folder(copy) as building, Progress("Copying the store", total=total // _CHUNK or None, unit="MB") as bar:
        for name in sorted(sizes):
            target = building / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "wb") as file:
                for chunk in _chunks(address, system, folder, name):
                    file.write(chunk)
                    done += len(chunk)
                    bar.advance(done // _CHUNK - bar.count)
        _check(address, building, meta, sums)


def _chunks(address: str, system: Any, folder: str, name: str) -> Iterator[bytes]:
    """A file that lies elsewhere, piece by piece."""
    with _in_our_words(address, name):
        source = system.open(f"{folder}/{name}", "rb", **_in_one_go(system, f"{folder}/{name}"))
    with source:
        while True:
            with _in_our_words(address, name):
                chunk = source.read(_CHUNK)
            if not chunk:
                return
            yield chunk


def _sums(address: str, meta: bytes) -> dict[str, str]:
    """What the table of each split sums to, as `meta.json` says."""
    try:
        facts = parse_json(meta)
        return {split: facts["counts"][split]["sha256"] for split in facts["splits"]}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{address}: meta.json does not describe a store: {error!r}") from error


def _check(address: str, folder: Path, meta: bytes, sums: Mapping[str, str]) -> None:
    """Make sure that a copy is whole: its tables by their sums, its labels by reading them."""
    for split, expected in sums.items():
        tables = sorted((folder / split).glob("*.arrow"))
        if [sha256_of(table) for table in tables] != [expected]:
            raise DataError(f"{address}: {split} is not what meta.json says.", _TRY_AGAIN)
    if (folder / "meta.json").read_bytes() != meta:
        raise DataError(f"{address}: meta.json has changed while the store was copied.", _TRY_AGAIN)
    try:
        LabelSpace.from_json(read_json(folder / "labels.json"))
    except (ValueError, DataError) as error:
        raise DataError(f"{address}: labels.json cannot be read: {error}", _TRY_AGAIN) from error


def _in_one_go(system: Any, path: str) -> dict[str, int]:
    """How to open a file of a web server that does not say that it gives parts of files, which are asked for else."""
    is_web = "https" in system.protocol  # a name, or several
    return {"block_size": 0} if is_web and not system.info(path).get("partial") else {}


@contextmanager
def _in_our_words(address: str, name: str = "meta.json") -> Iterator[None]:
    """What file systems raise for a file, as one message: each has errors of its own, of the libraries below it."""
    try:
        yield
    except HlcliError:
        raise
    except ImportError as error:
        raise MissingDependencyError(f"{address} cannot be read: {error}.") from error
    except FileNotFoundError as error:
        if (cause := _other_cause(error)) is not None:
            raise _unreadable(address, cause) from error
        raise DataError(f"{address} is no store: it has no {name}.", _GIVE) from error
    except Exception as error:
        raise _unreadable(address, error) from error


def _other_cause(error: FileNotFoundError) -> BaseException | None:
    """Why a web server did not give a file, unless there is none; fsspec calls either a file that is not found."""
    cause = error.__cause__
    status = getattr(cause, "status", 404)
    return cause if isinstance(cause, TimeoutError) or status not in (404, 410) else None


def _unreadable(address: str, error: BaseException) -> DataError:
    hint = "It was silent for too long. Try again." if isinstance(error, TimeoutError) else None
    return DataError(f"{address} cannot be read: {str(error) or type(error).__name__}", hint)
