"""Names of figures that come from images and labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from hlcli.figures.files import safe_name
from hlcli.plain_text import printable


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("red cat", "red cat"),
        ("a/b\\c?.", "a_b_c_"),
        ("\x1b[31mred\x9b2J", "_[31mred_2J"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("\ud800", "_"),
        (" . ", "_"),
        ("x" * 300, "x" * 100),
        ("é" * 300, "é" * 100),
        ("名" * 300, "名" * 66),
    ],
)
def test_names_are_those_of_files_and_do_nothing_on_a_terminal(tmp_path: Path, name: str, expected: str):
    found = safe_name(name)
    assert found == expected
    assert printable(found) == found
    (tmp_path / f"scene-10-{found}-12.failures.jsonl").touch()
