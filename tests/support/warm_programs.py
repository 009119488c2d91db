"""`hlcli` in processes of its own that start in a moment: forked from a server that has imported the libraries.

Imports are most of what a short program costs. Tests of how programs start use `programs.py`, the real thing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from programs import SOURCE, program_environment

_PRELOADED = ["hlcli.cli.main", "hlcli.training.loop", "hlcli.prediction.captions", "hlcli.features.embedding",
              "hlcli.data.transfers.archive_download"]  # fmt: skip
_SECONDS = 300
_starting = threading.Lock()


class WarmProgram:
    """`hlcli WORDS…`, running.

    Args:
        words: of the command line.
        before: Python code to run first, in a process of that command line; it may leave with `sys.exit`.
        environment: variables besides those of `program_environment`.
    """

    def __init__(self, *words: object, before: str = "", **environment: str) -> None:
        self._words = [str(word) for word in words]
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        given = (self._words, before, program_environment(**environment), self._said)
        self._process = ForkServerProcess(target=_run, args=given)
        self._start()

    def _start(self) -> None:
        """The server is started with the first program, and finds what libraries read of the environment."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOADED)
        with _starting, pytest.MonkeyPatch.context() as patch:
            for name, value in program_environment().items():
                patch.setenv(name, value)
            self._process.start()

    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def errors(self) -> str:
        """What it said on stderr until now."""
        return self._said[1].read_text() if self._said[1].exists() else ""

    def wait(self) -> subprocess.CompletedProcess[str]:
        """How it ended; one that does not is killed."""
        self._process.join(_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        stdout, stderr = (path.read_text() if path.exists() else "" for path in self._said)
        code = self._process.exitcode
        assert code is not None
        self._process.close()
        self._folder.cleanup()
        return subprocess.CompletedProcess(self._words, code, stdout, stderr)


def run_warm(*words: object, before: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `hlcli WORDS…` to its end."""
    return WarmProgram(*words, before=before, **environment).wait()


def run_two(*words: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run `hlcli WORDS…` as two processes that know each other, with the variables that a launcher would set.

    Returns:
        The worse exit code, and what both said, the first before the second.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared["ACCELERATE_USE_CPU"] = "true"
    both = [WarmProgram(*words, before=before, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(2)]
    first, second = [program.wait() for program in both]
    code = first.returncode or second.returncode
    return subprocess.CompletedProcess(first.args, code, first.stdout + second.stdout, first.stderr + second.stderr)


def _run(words: list[str], before: str, environment: dict[str, str], said: list[Path]) -> None:
    """In the forked process."""
    from hlcli.cli.main import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(SOURCE)
    for number, path in enumerate(said, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv = ["hlcli", *words]
    exec(before, {})
    main()
