"""Running the command lines of a page, inside this process, and what the page promises of them.

Below a block a page may say, in a comment that readers do not see: `<!-- makes: FILE… -->`, `<!-- exit code: N -->` of
its last command, or `<!-- not run: reason -->`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from command_line import run
from doc_pages import Block, shell_lines

Words = Callable[[str], list[str]]
"""Gives the words after `hlcli` of a command line, with what is added to make it quick."""

_PROGRAM = re.compile(r"(?P<variables>(?:\w+=\S+ )*)(?:(?:accelerate launch|torchrun) (?:.*-m )?)?hlcli (?:-- )?")


class Ran(NamedTuple):
    """How a line ended: its exit code, and what it said on both channels."""

    code: int
    said: str


def run_line(line: str, words_of: Words) -> Ran:
    """Run a line; of parts that are joined by `&&`, up to the first one that fails. `pip install` is left out.

    What launchers start as several processes is run as one: tests/test_processes.py starts them for real. Other
    programs get a shell.
    """
    ran = Ran(0, "")
    for part in re.sub(r"\s+#.*", "", line).split(" && "):
        if ran.code == 0 and not part.startswith("pip install "):
            program = _PROGRAM.match(part)
            command = f"hlcli {part[program.end() :]}" if program else ""
            ran = _run_ours(words_of(command), (program or {})["variables"]) if program else _run_other(part)
    return ran


def _run_ours(words: list[str], variables: str) -> Ran:
    words = [os.path.expanduser(word) for word in words]
    inner: list[Any] = []

    def start_again(arguments: list[str], *_: object, **__: object) -> int:
        inner.append(run(*arguments))
        return int(inner[0].exit_code)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["hlcli", *words])  # what `--num-processes` starts again, here in this process
        patch.setattr("hlcli.launching.relaunch", start_again)
        for name, _, value in (variable.partition("=") for variable in shlex.split(variables)):
            patch.setenv(name, value)
        done = run(*words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, "".join(one.output for one in [done, *inner]))


def _run_other(line: str) -> Ran:
    done = subprocess.run(line, shell=True, capture_output=True, text=True, errors="replace", check=False)
    return Ran(done.returncode, done.stdout + done.stderr)


def run_block(block: Block, words_of: Words, left_out: Iterable[str] = ()) -> str:
    """Run the lines of a block and check what its note promises of them; gives what all of them said.

    Args:
        block: with commands.
        words_of: of a command line.
        left_out: beginnings of lines that are not run.
    """
    lines = [line for line in shell_lines(block) if not line[1].startswith(tuple(left_out))]
    said = ""
    for place, (number, line) in enumerate(lines, start=1):
        ran = run_line(line, words_of)
        last = block.note.startswith("exit code: ") and place == len(lines)
        wanted = int(block.note.removeprefix("exit code: ")) if last else 0
        assert ran.code == wanted, f"{block.page.name}:{number}: {line}\nended with {ran.code}\n{ran.said}"
        said += ran.said
    check_files(block)
    return said


def check_files(block: Block) -> None:
    """Check that the files that a block promises are there."""
    if block.note.startswith("makes: "):
        missing = [file for file in block.note.split()[1:] if not Path(file).is_file()]
        assert not missing, f"{block.page.name}:{block.line}: {missing}"
