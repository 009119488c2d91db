"""Disks of this very process: small ones, and ones that cannot be written; for programs that are forked warm.

`small_disk.py` does the like for programs that are started, from outside.
"""

from __future__ import annotations

import ctypes
import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def enter() -> None:
    """From here on mounts are seen by this process alone."""
    user, group = os.getuid(), os.getgid()
    try:
        _call("unshare", _NEW_MOUNTS)
    except PermissionError:
        _call("unshare", _NEW_USER | _NEW_MOUNTS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    subprocess.run(["mount", "--make-rprivate", "/"], check=False)


def mount(disk: Path, kilobytes: int) -> None:
    """A new, empty disk of that size."""
    disk.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk)], check=True)


def remount(disk: Path, options: str) -> None:
    """Change it: `size=100m`, `ro`."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def take_away(disk: Path, copy: Path) -> None:
    """Copy what is on it, and unmount it."""
    shutil.copytree(disk, copy)
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def may_mount() -> str:
    """Why this machine does not let us; empty when it does."""
    code = os.fork()
    if code == 0:
        try:
            enter()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            os._exit(1)
        os._exit(0)
    return "" if os.waitpid(code, 0)[1] == 0 else "no file system of our own may be mounted"


def command(words: Sequence[str], said: Path) -> int:
    """Run `hlcli WORDS…` in this process; its stderr goes to a file. Returns the exit code."""
    import sys

    from hlcli.cli.main import main

    before, sys.argv = sys.argv, ["hlcli", *words]
    saved = os.dup(2)
    with open(said, "w") as file:
        os.dup2(file.fileno(), 2)
        try:
            main()
        except SystemExit as error:
            return int(error.code or 0)
        finally:
            for handler in logging.getLogger("hlcli").handlers:
                handler.close()  # the run's log, which would keep the disk busy
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            sys.argv = before
    return 0
