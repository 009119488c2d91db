"""Help as a person sees it: in 80 columns, examples first and fit to be copied, nothing cut."""

from __future__ import annotations

import inspect
import re
import shlex
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hlcli.cli import main
from hlcli.cli.help_text import examples_of, fold_example, without_examples

TOP = typer.main.get_command(main.app)


def commands() -> list[list[str]]:
    """All commands and groups of the command line, and those of two data sets."""
    paths: list[list[str]] = [[]]
    for name, command in TOP.commands.items():
        paths.append([name])
        paths += [[name, sub] for sub in getattr(command, "commands", {})]
    return [*paths, ["preprocess", "coco"], ["preprocess", "huggingface"]]


def help_of(words: list[str], columns: int) -> str:
    done = CliRunner().invoke(main.app, [*words, "--help"], terminal_width=columns - 2)
    assert done.exit_code == 0, done.output
    return done.stdout


def find(words: list[str]) -> Any:
    found = TOP
    for word in words:
        found = found.get_command(typer.Context(found), word)
    return found


@pytest.mark.parametrize("columns", [60, 80])
def test_help_fits_the_window_and_shows_words_whole(columns: int):
    for words in commands():
        text = help_of(words, columns)
        assert max(map(len, text.splitlines())) <= columns, words
        assert text.startswith("Example: "), words
        assert not re.search(
            r"^  .*[a-z]\.\.\.$|<(str|int|path|list)|[{][A-Z]", text.split("Usage:")[1], re.MULTILINE
        ), words
        flat = " ".join(text.split())
        for word in re.findall(r"\S+-\S+", without_examples(inspect.cleandoc(find(words).help or ""))):
            assert word in flat, (words, word)


@pytest.mark.parametrize("columns", [60, 80])
def test_examples_run_as_they_are_copied(columns: int):
    for words in commands():
        shown = help_of(words, columns).split("Usage:")[0].replace("\\\n", " ")
        examples = [shlex.split(line) for line in shown.splitlines()]
        assert examples == [shlex.split(line) for line in examples_of(inspect.cleandoc(find(words).help))], words


def test_an_example_is_parted_between_options_never_within_quotes():
    line = "Example: hlcli work thing --name 'a long name in quotes' --other value"
    assert fold_example(line, 200) == line
    assert fold_example(line, 60).splitlines() == [
        "Example: hlcli work thing --name 'a long name in quotes' \\",
        "               --other value",
    ]


def test_ranges_and_defaults_are_said_in_words():
    text = " ".join(help_of(["download"], 80).split())
    assert "[default: 16; 1 to 64]" in text
    assert "[default: 1024; at least 0]" in text
