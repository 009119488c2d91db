"""`hlcli` in processes of its own that start in a moment: forked from a server that has imported the libraries.

Imports are most of what a short program costs. Tests of how programs start use `programs.py`, the real thing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from effort import effort
from programs import SOURCE, group_variables, program_environment

_PRELOADED = ["warm_libraries"]
_PLACES = [str(SOURCE), str(Path(__file__).parent)]
_SECONDS = effort(300, 36_000)
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
            for name, value in program_environment(PYTHONPATH=os.pathsep.join(_PLACES)).items():
                patch.setenv(name, value)
            self._process.start()

    @property
    def pid(self) -> int:
        """Its number, for as long as it was not waited for."""
        assert self._process.pid is not None
        return self._process.pid

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


def launch_warm(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `accelerate launch` with these words; the programs that it launches start from nothing, as always."""
    launcher = "from accelerate.commands.launch import main\nmain()\nimport sys\nsys.exit()\n"
    return run_warm(*arguments, before=launcher, **environment)


def run_two(*words: object, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run `hlcli WORDS…` as two processes that know each other.

    Returns:
        The worse exit code, and what both said, the first before the second.
    """
    first, second = [program.wait() for program in start_group(2, *words, before=before)]
    code = first.returncode or second.returncode
    return subprocess.CompletedProcess(first.args, code, first.stdout + second.stdout, first.stderr + second.stderr)


def start_group(
    count: int, *words: object, before: str = "", only: Mapping[int, str] | None = None, **environment: str
) -> list[WarmProgram]:
    """Start `hlcli WORDS…` as processes that know each other, with the variables that a launcher would set.

    Args:
        count: how many.
        words: of the command line.
        before: as for `WarmProgram`.
        only: more of it for single processes, by their rank.
        environment: variables besides.
    """
    return [
        WarmProgram(*words, before=before + (only or {}).get(rank, ""), **(variables | environment))
        for rank, variables in enumerate(group_variables(count))
    ]


def _run(words: list[str], before: str, environment: dict[str, str], said: list[Path]) -> None:
    """In the forked process."""
    from hlcli.cli.main import main

    multiprocessing.set_start_method(None, force=True)  # as a program of its own starts processes
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
