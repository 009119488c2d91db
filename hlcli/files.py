"""Writing files and folders whole: under a temporary name first, then renamed, so that no half one is ever seen."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hlcli.errors import CheckpointError, HlcliError, InputError
from hlcli.locks import give_back, take

_TRIES, _PAUSE = 100, 0.05
"""How long a folder is waited for that another process is putting in its place, in seconds between two looks."""


@contextmanager
def whole_file(
    path: Path, mode: str = "w", *, newline: str | None = None, former: Path | None = None
) -> Iterator[IO[Any]]:
    """Open a file for writing; it takes its final name when the block ends without an error.

    Args:
        path: the file.
        mode: of opening it.
        newline: as for `open`.
        former: where, in the same folder, the file that is replaced goes; without, it is gone.

    Raises:
        HlcliError: when the file cannot be written (disk full, folder not writable).
    """
    temporary = path.with_name(f".{path.name}.tmp{os.getpid()}")
    try:
        _make_folder(path.parent)
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8", newline=newline) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if former is not None and path.exists():
            _keep(path, former)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        cause = _system_error(error)
        if cause is None:
            raise
        raise HlcliError(f"{path} cannot be written: {cause.strerror or cause}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(folder: Path, option: str = "--out") -> None:
    """Refuse, before any work, a folder that files cannot be written to; it need not be there yet.

    Args:
        folder: where files will be written.
        option: what it was given with.

    Raises:
        InputError: with the system's word on it.
    """
    place = folder.absolute()
    try:
        with tempfile.TemporaryFile(dir=next(there for there in (place, *place.parents) if there.exists())):
            pass
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror or error}.", f"Give another place with {option}."
        ) from error


def check_out_file(path: Path, endings: Sequence[str]) -> Path:
    """The file of `--out` again, unless it has another ending, is a folder, or lies where nothing can be written.

    Raises:
        InputError: saying which.
    """
    if path.suffix not in endings:
        wanted = f"{'one of ' if len(endings) > 1 else ''}{', '.join(endings)}"
        raise InputError(f"--out {path}: the ending must be {wanted} (got {path.suffix!r}).")
    if os.path.isdir(path):  # of names that are too long, `is_dir` raises the system's error
        raise InputError(f"--out {path} is a folder; a file was expected.")
    check_writable(path.parent)
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """A block that changes a file in place: what the system says against it is said as ours.

    Raises:
        HlcliError: when the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise HlcliError(f"{path} cannot be written: {error.strerror or error}.") from error


def _keep(path: Path, former: Path) -> None:
    """Give a file a second name as well; on disks without such names it only gets the new one."""
    if former.exists() and former.samefile(
        path
    ):  # as a kill has left them; a rename would do nothing, and leave `spare`
        return
    spare = former.with_name(f".{former.name}.tmp{os.getpid()}")
    try:
        os.link(path, spare)
    except OSError:
        os.replace(path, former)
    else:
        os.replace(spare, former)


def remove_leftovers(folder: Path) -> None:
    """Remove files below a folder that `whole_file` had not finished when its process was killed. Only for folders
    that no other process writes to."""
    for path in folder.rglob(".*.tmp*"):
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


_TEMPORARY = re.compile(r"\..+\.tmp[0-9]+")


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's word behind an error; torch's writer covers a full disk with a message of its own."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document, keys in the order given."""
    with whole_file(path) as handle:
        json.dump(value, handle, indent=1, ensure_ascii=False)
        handle.write("\n")


def free_bytes(place: Path) -> int:
    """Free bytes on the disk of a file or folder, which need not be there yet."""
    absolute = place.absolute()
    return shutil.disk_usage(next(there for there in (absolute, *absolute.parents) if there.exists())).free


def sha256_of(path: Path) -> str:
    """The sum of a whole file, as hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Fill a folder beside its final place; it replaces the old one when the block ends without an error.

    A kill between the two renames is mended by `recover_folder`.

    Raises:
        HlcliError: when the folder cannot be written, or another process is writing it: files of both would be mixed.
    """
    building, lock = path.with_name(f".{path.name}.building"), _lock_name(path)
    ready, old = _swap_names(path)
    held = None
    try:
        _make_folder(path.parent)
        held = take(lock)
        if held is None:
            raise HlcliError(f"Another process writes {path}.", "Wait for it, or give another place.")
        _finish_replacement(path)
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        yield building
        _sync_below(building)
        os.rename(building, ready)
        if path.exists():
            os.rename(path, old)
        os.rename(ready, path)
        sync_folder(path.parent)
        _remove(old)
    except HlcliError as error:  # of a file in it
        error.message = error.message.replace(str(building), str(path))
        raise
    except OSError as error:
        raise HlcliError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        if held is not None:
            shutil.rmtree(building, ignore_errors=True)
            with suppress(OSError):
                give_back(held, lock)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Say that a model's place is taken, unless it may be replaced.

    Raises:
        CheckpointError: when it is.
    """
    if path.exists() and not overwrite:
        raise CheckpointError(f"{path} exists.", "Give --overwrite to replace it.")


def recover_folder(path: Path) -> None:
    """Finish a replacement by `whole_folder` that was cut short; does nothing otherwise.

    One that is going on in another process is left to that; where there is no folder meanwhile, it is waited for.
    """
    for _ in range(_TRIES):
        if not any(place.exists() for place in _swap_names(path)):
            return
        try:
            held = take(_lock_name(path))
        except OSError:  # a disk that cannot be written: nothing can be mended
            return
        if held is not None:
            try:
                _finish_replacement(path)
            finally:
                give_back(held, _lock_name(path))
            return
        if path.exists():
            return
        time.sleep(_PAUSE)


def _finish_replacement(path: Path) -> None:
    """Let the newer folder take its place, if a kill has kept it from that; only for who has the lock."""
    ready, old = _swap_names(path)
    if ready.exists():
        if path.exists():
            _remove(old)
            os.rename(path, old)
        os.rename(ready, path)
    if old.exists():
        if path.exists():
            _remove(old)
        else:
            os.rename(old, path)


def _remove(place: Path) -> None:
    """Take a folder away; of a link to one, the link."""
    if place.is_symlink():
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)


def _swap_names(path: Path) -> tuple[Path, Path]:
    return path.with_name(f".{path.name}.ready"), path.with_name(f".{path.name}.old")


def _lock_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.writing")


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that a power cut does not take them away with what is written there."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def _sync_below(folder: Path) -> None:
    """Make files and folders durable that others wrote."""
    for place, _, names in os.walk(folder):
        for name in names:
            with open(Path(place) / name, "r+b") as handle:  # Windows wants to be allowed to write
                os.fsync(handle.fileno())
        sync_folder(Path(place))


def sync_folder(folder: Path) -> None:
    """Make renames durable where the system allows it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # folders cannot be opened on Windows
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
