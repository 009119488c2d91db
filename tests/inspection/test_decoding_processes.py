"""Processes that decode leave Ctrl-C to the command, and end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from programs import program_environment

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals to a group of processes")

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from hlcli.cli.main import main
from hlcli.inspection import images

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background would hand down "ignored"
folder, look, read = Path(sys.argv.pop(1)), images._look, images._read_source

def marking(source):
    (folder / str(os.getpid())).touch()
    time.sleep(0.001)
    return look(source)

def slowly(rows, row):
    time.sleep(0.02)
    return read(rows, row)

images._look, images._read_source = marking, slowly  # the processes wait for work most of the time
main()
"""


def begin(folder: Path) -> subprocess.Popen[str]:
    """An inspection of drawn scenes in a process group of its own, both of its processes waiting for more work."""
    words = ["debug", "data", "shapes", "--set", "num_train=2000", "--set", "render_size=16", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=program_environment(), start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.5)
    return process


def test_they_end_when_the_command_is_killed(tmp_path: Path):
    process = begin(tmp_path)
    try:
        process.kill()
        process.communicate(timeout=20)  # whoever holds its output has ended
    finally:
        end_group(process)


def test_ctrl_c_is_for_the_command_alone(tmp_path: Path):
    process = begin(tmp_path)
    try:
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=20)[1]
    finally:
        end_group(process)
    assert process.returncode == 130, said
    assert "Traceback" not in said


def end_group(process: subprocess.Popen[str]) -> None:
    """Leave nothing behind where a test fails."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.communicate()
