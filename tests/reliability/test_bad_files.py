"""Bad files by the thousand: every reader gives what the file says, or one of our messages, soon and in little memory.

`HLCLI_LONG=1` tries 20,000 damaged files of each kind; see docs/reliability.md.
"""

from __future__ import annotations

import json
import logging
import re
import resource
import shutil
import signal
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
from effort import IS_LONG, effort
from file_readers import Reader, data_set_readers
from model_file_readers import model_readers
from mutations import json_bytes, mutate, mutate_tree
from result_file_readers import result_readers

from hlcli.errors import HlcliError

READERS = [*data_set_readers(), *model_readers(), *result_readers()]
TRIES = effort(short=20, long=20_000)
SECONDS = 10.0
"""Of the processor, that one file may take."""

MEMORY = 1 << 30
"""Bytes that reading one may take besides what the process has already."""

LONGEST_LINE = 900

LINE = effort(short=100_000, long=10_000_000)
"""Bytes that are put into the midst of a file."""

FILLINGS = [filling.encode() for filling in ("a" if not IS_LONG else "a9\n,;[\"' \x00")]


class TookTooLong(BaseException):
    """A file was not read within its seconds; no `except Exception` hides it."""


@contextmanager
def limits() -> Iterator[None]:
    """Little memory; `SECONDS` count from every call of `signal.setitimer`."""

    def stop(*_: object) -> None:
        raise TookTooLong

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGPROF, before)


def damaged(valid: bytes, tree: Any, random: Random) -> bytes:
    """The file, or the tree that it holds, with other things in it."""
    if tree is None or random.random() < 0.5:
        return mutate(valid, random)
    return json_bytes(mutate_tree(tree, random), random)


def check_message(error: HlcliError, path: Path) -> None:
    """A message is of lines that can be shown, not too long, and says where."""
    text = str(error)
    assert error.exit_code in (1, 2, 3)
    lines = [*error.message.split("\n"), *(error.hint or "-").split("\n")]
    assert len(lines) <= 23
    for line in lines:
        assert not {*map(unicodedata.category, line)} & {"Cc", "Cf", "Cs", "Zl", "Zp"}, repr(line)[:300]
        assert len(line) <= LONGEST_LINE, f"{len(line)} characters: {line[:300]}"
    assert any(place in text for place in (path.name, str(path.parent.parent), "--set", "recipe")), text


def check(reader: Reader, path: Path, content: bytes) -> bool:
    """Whether the file is accepted.

    Raises:
        AssertionError: when it does anything but be read or be refused.
    """
    path.write_bytes(content)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        result = reader.read(path)
        if reader.again is not None:
            assert reader.again(result, path) == result
    except HlcliError as error:
        check_message(error, path)
        return False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return True


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_read_or_refused_in_our_words(reader: Reader, tmp_path: Path):
    logging.getLogger("hlcli").setLevel(logging.CRITICAL)
    path = reader.make(fresh(tmp_path / "files"))
    valid = path.read_bytes()
    tree = tree_of(valid)
    assert check(reader, path, valid), "the undamaged file is refused"
    accepted, tries = 0, TRIES if IS_LONG else max(1, TRIES // reader.cost)
    with limits():
        for number in range(tries):
            content = damaged(valid, tree, Random(f"{reader.name} {number}"))
            if not path.parent.is_dir() or number % 500 == 0:
                path = reader.make(fresh(tmp_path / "files"))
            try:
                accepted += check(reader, path, content)
            except BaseException as error:
                error.add_note(f"{reader.name}, input {number}: {len(content)} bytes, {content[:600]!r}")
                raise
    sys.stderr.write(f"{reader.name}: {tries:,} damaged files, {accepted:,} of them accepted\n")


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_line_without_end_is_read_or_refused_in_our_words(reader: Reader, tmp_path: Path):
    logging.getLogger("hlcli").setLevel(logging.CRITICAL)
    path = reader.make(fresh(tmp_path / "files"))
    valid = path.read_bytes()
    check(reader, path, valid)
    word = re.search(rb"\w(?=\w*\W*\Z)", valid[: 1 + len(valid) // 2])
    assert word is not None
    with limits():
        for filling in FILLINGS:
            path = reader.make(fresh(tmp_path / "files"))
            check(reader, path, valid[: word.start()] + filling * LINE + valid[word.start() :])


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def tree_of(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
