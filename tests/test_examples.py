"""What documents show works as it is shown: examples in docstrings, and the tour of the Python interface."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import hlcli

ROOT = Path(__file__).parent.parent


def test_examples_in_docstrings_of_public_names():
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner()
    shown = 0
    for name in hlcli._HOMES:
        thing = getattr(hlcli, name)
        if not inspect.isclass(thing) and not inspect.isfunction(thing):
            continue
        for example in finder.find(thing, name, globs=vars(inspect.getmodule(thing)).copy()):
            shown += bool(example.examples)
            runner.run(example)
    assert runner.summarize(verbose=False).failed == 0
    assert shown >= 12


def test_the_tour_of_python_works_as_written(work_folder: Path, capsys: pytest.CaptureFixture[str]):
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for match in re.finditer(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        lines_before = "\n" * page.count("\n", 0, match.start(1))  # so that a traceback names the line of the page
        exec(compile(lines_before + match[1], "docs/python.md", "exec"), names)
    assert names["run"].state() == "finished"
    assert len(names["failed"]) == 1
    assert names["measured"].metrics.num_images == 8
    said = capsys.readouterr().out
    for text in (
        "hleg 2",
        "Did you mean lr?",
        "runs/short finished",
        "missing.jpg Image missing.jpg cannot be decoded",
    ):
        assert text in said
