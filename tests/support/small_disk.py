"""A disk that is soon full: a small file system in memory, which only the command under test can see; or a limit."""

from __future__ import annotations

import functools
import resource
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

_SCRIPT = """
mount -t tmpfs -o size=$1k tmpfs "$2" || exit 99
disk=$2 out=$3; shift 3
for run in first second; do
    "$@" >"$out/$run.stdout" 2>"$out/$run.stderr"
    echo $? >"$out/$run.code"
    cp -a "$disk" "$out/$run"
    mount -o remount,size=100m "$disk"
done
"""


class Ended(NamedTuple):
    """How a command ended, and the files it left, by path below the disk."""

    code: int
    stdout: str
    stderr: str
    files: dict[str, bytes]


@functools.cache
def _way_in() -> tuple[list[str], str]:
    """The command after which file systems of our own may be mounted; or none, and why this machine lets us not."""
    complaint = ""
    for flags in ("-rm", "-m"):  # as anybody, or as the administrator where the first is forbidden
        words = ["unshare", flags]
        try:
            done = subprocess.run([*words, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True)
        except OSError as error:
            return [], str(error)
        if done.returncode == 0:
            return words, ""
        complaint = done.stderr.strip()
    return [], complaint


def run_until_full(
    command: list[str], disk: Path, out: Path, environment: Mapping[str, str], kilobytes: int
) -> tuple[Ended, Ended]:
    """Run a command that writes below `disk`, first with little room, then again with enough.

    Skips the test where the machine does not let us.
    """
    unshare, complaint = _way_in()
    if not unshare:
        pytest.skip(f"no file system of our own: {complaint}")
    for folder in (disk, out):
        folder.mkdir()
    words = [*unshare, "sh", "-c", _SCRIPT, "sh", str(kilobytes), str(disk), str(out), *command]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return _ended(out, "first"), _ended(out, "second")


def _ended(out: Path, run: str) -> Ended:
    code, stdout, stderr = ((out / f"{run}.{kind}").read_text() for kind in ("code", "stdout", "stderr"))
    return Ended(int(code), stdout, stderr, files_below(out / run))


def files_below(folder: Path) -> dict[str, bytes]:
    """All files by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def small_files(num_bytes: int) -> Iterator[None]:
    """No file may grow beyond this, which fails as a full disk does; the test runner's own output neither."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
