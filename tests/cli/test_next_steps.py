"""What commands say beside their results: on stderr, one line to type next, nothing with --quiet or --json."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run

from hlcli.cli.next_steps import command_line


def next_line(done: object) -> str:
    lines = [line for line in done.stderr.splitlines() if line.startswith("Next: ")]  # type: ignore[attr-defined]
    assert len(lines) == 1, lines
    return lines[0].removeprefix("Next: ")


def test_the_next_command_names_real_paths_as_they_are_typed(tmp_path: Path):
    place = tmp_path / "my own.yaml"
    done = run("recipes", "copy", "quickstart", place)
    assert done.stdout == f"{place}\n"
    words = shlex.split(next_line(done))
    assert words == ["hlcli", "train", "--recipe", str(place)]
    planned = run(*words[1:], "--set", "data.num_train=64", "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert shlex.split(next_line(planned)) == [*words, "--set", "data.num_train=64"]


def test_a_model_on_the_hub_keeps_its_address():
    assert command_line("eval", Path("hf://jane/birds")) == "hlcli eval hf://jane/birds"


@pytest.mark.parametrize("words", [("--quiet", "recipes", "list"), ("recipes", "list", "--quiet")])
def test_quiet_leaves_hints_out_wherever_it_stands(words: tuple[str, ...]):
    assert next_line(run("recipes", "list")) == "hlcli recipes show NAME"
    done = run(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "quickstart" in done.stdout


def test_documents_for_programs_come_without_hints():
    done = run("debug", "data", "shapes", "--set", "num_train=8", "--no-images", "--json")
    assert (done.exit_code, done.stderr) == (0, "")


def test_after_looking_at_a_data_set_its_recipes_are_named():
    done = run("debug", "data", "shapes", "--set", "num_train=8", "--no-images")
    assert next_line(done).startswith("hlcli train --recipe hspnet/shapes (or linear/shapes, ")


def test_a_plan_of_downloads_fits_the_window(tmp_path: Path):
    done = run("download", "voc2007", "coco", "intentonomy", "--root", tmp_path, "--dry-run")
    assert done.exit_code == 0, done.output
    rows = done.stdout.splitlines()
    assert max(len(row) for row in rows if not row.startswith("intentonomy: disk")) <= 80
    assert any(row.split() == ["train2014.zip", "missing", "13.5", "GB"] for row in rows)
    assert shlex.split(next_line(done))[1:5] == ["download", "voc2007", "coco", "intentonomy"]


def test_recipes_fold_on_a_terminal_and_keep_a_line_each_in_a_pipe():
    """A real terminal of 80 columns, whose other end is read as the screen would be."""
    ours, theirs = pty.openpty()
    variables = {**os.environ, "COLUMNS": "80", "TERM": "xterm", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "hlcli", "recipes", "list"]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=variables)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    lines = [line for line in shown.decode().replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines() if line.strip()]
    assert max(len(line.rstrip()) for line in lines) <= 80
    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    piped = run("recipes", "list").stdout.splitlines()
    assert names == [line.split()[0] for line in piped]
    assert "one positive label per training image." in " ".join(" ".join(lines).split())
