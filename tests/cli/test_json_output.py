"""JSON on stdout holds whatever names files have, on any stream."""

from __future__ import annotations

import ast
import io
import json
import os
import sys
from pathlib import Path

import pytest
from command_line import run
from inspected import write_folder
from noise_photos import write_photos

from hlcli.cli import json_output
from hlcli.cli.json_output import print_json

NOT_UTF8 = b"caf\xe9.png"


@pytest.fixture
def odd_photos(tmp_path: Path) -> Path:
    """A folder of a photo whose name is no UTF-8."""
    folder = write_photos(tmp_path / "odd", 1)
    try:
        os.rename(os.fsencode(folder / "0.png"), os.path.join(os.fsencode(folder), NOT_UTF8))
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    return folder


def test_debug_data_names_files_that_are_not_utf8(tmp_path: Path, odd_photos: Path):
    write_folder(tmp_path, {"a.png": "x,train", "b.png": "x,train"})
    odd_photos.rename(tmp_path / "photos" / "odd")
    words = ("--set", f"images={tmp_path / 'photos'}", "--set", f"labels={tmp_path / 'labels.csv'}", "--no-images")
    done = run("debug", "data", "folder", *words, "--json")
    assert done.exit_code == 0, done.output
    where = [name for finding in json.loads(done.stdout)["findings"] for name in finding["where"]]
    assert [name for name in map(os.fsencode, where) if name.endswith(NOT_UTF8)]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_is_printed_is_read_back(encoding: str, monkeypatch: pytest.MonkeyPatch):
    document = {"plain": "é 漢 😀", "half": os.fsdecode(NOT_UTF8), "control": "\x1b\n"}
    for one in (document, {"plain": document["plain"]}):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        print_json(one)
        stream.flush()
        text = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
        assert json.loads(text) == one
        assert ("漢" in text) == (encoding == "utf-8" and "half" not in one)


def test_commands_print_json_in_this_way_alone():
    folder = Path(json_output.__file__).parent
    users = {path.name for path in folder.glob("*.py") if "json.dumps" in path.read_text(encoding="utf-8")}
    assert users == {"json_output.py"}
    calls = [node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and ast.unparse(node.func) == "print_json"]  # fmt: skip
    assert len(calls) > 10
