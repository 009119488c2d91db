"""Every `hlcli …` line of the README and of docs/ is one that the program takes, its recipe and settings too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from doc_pages import ROOT, blocks, commands_in_sentences, pages, program_words, shell_lines

from hlcli.cli.main import app
from hlcli.recipe import TAGS, Recipe, section_classes
from hlcli.recipe_reading.shipped import list_recipes

HANDMADE = frozenset({"birds", "birds-levels", "mine", "mine.yaml", "stories"})
"""Recipes that a reader makes with an earlier line: what their settings go together with is not known."""
PROGRAM = typer.main.get_command(app)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_line_is_one_that_the_program_takes(page: Path):
    wrong = []
    for number, line in lines_to_type(page):
        for words in program_words(line):
            wrong += [f"{page.name}:{number}: {line}\n    {mistake}" for mistake in mistakes(words)]
    assert not wrong, "\n".join(wrong)


def test_sentences_name_commands_and_options_that_there_are():
    """Often without what else a command needs."""
    commands = [(page, line) for page in pages() for line in commands_in_sentences(page)]
    assert len(commands) > 100
    said = [
        (page.name, line, text) for page, line in commands for words in program_words(line) for text in mistakes(words)
    ]
    assert [one for one in said if one[2].startswith("No such ")] == []


def test_the_lines_are_found():
    found = [words for page in pages() for _, line in lines_to_type(page) for words in program_words(line)]
    assert len(found) > 150
    assert {"download", "preprocess", "embed", "init", "debug", "train", "eval", "compare", "calibrate", "caption",
            "visualize", "recipes", "convert", "export", "push", "env"} <= {words[0] for words in found}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("hlcli trian --recipe quickstart", "trian"),
        ("hlcli train --recipe quickstart --sett train.epochs=1", "--sett"),
        ("hlcli train --recipe quickstart2", "quickstart2"),
        ("hlcli train --recipe quickstart --set train.epoch=1", "train.epoch"),
        ("hlcli train --recipe mine --set optim.learning_rate=1", "optim.learning_rate"),
        ("hlcli embed labels coco --set imagesize=1", "imagesize"),
        ("hlcli recipes show nothing", "nothing"),
        ("accelerate launch --multi_gpu -m hlcli train --recipe quickstart --speed", "--speed"),
        ("X=1 torchrun --nnodes 2 -m hlcli -- train --recipe quickstart --speed", "--speed"),
        ("pip install . && hlcli train --recipe quickstart --speed", "--speed"),
    ],
)
def test_wrong_lines_are_found(line: str, mistake: str):
    (words,) = program_words(line)
    (said,) = mistakes(words)
    assert mistake in said


def lines_to_type(page: Path) -> Iterator[tuple[int, str]]:
    """Lines of the blocks without a language; others show something else."""
    for block in blocks(page):
        if block.language in ("", "bash", "sh", "console"):
            yield from shell_lines(block)


def mistakes(words: Sequence[str]) -> list[str]:
    """What is wrong with a command line, in the program's words."""
    try:
        command, options = parsed(words)
        return wrong_settings(command, options)
    except typer.Exit as end:
        return [] if end.exit_code == 0 else [str(end)]
    except Exception as error:  # noqa: BLE001 (whatever the parser or a recipe says is shown with its line)
        said = str(getattr(error, "message", error))
        return [] if said.endswith("does not exist.") else [said]  # files that `hlcli download` looks for at once


def parsed(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """A command, such as `embed labels`, and its options; nothing of what it says is done."""
    names: list[str] = []
    command: Any = PROGRAM
    context = command.make_context("hlcli", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
        names.append(name)
    return " ".join(names), context.params


def wrong_settings(command: str, options: dict[str, Any]) -> list[str]:
    """Recipes that there are not, and values of `--set` that no recipe takes.

    Raises:
        RecipeError: when a shipped recipe cannot be trained with these settings.
    """
    settings = [text for value in options.values() if isinstance(value, list | tuple) for text in value]
    settings = [text for text in settings if isinstance(text, str) and "=" in text]
    recipe = options.get("recipe") or (options.get("name") if command.startswith("recipes ") else None)
    if recipe and str(recipe) not in HANDMADE:
        known = ROOT / str(recipe) if (ROOT / str(recipe)).is_file() else str(recipe)
        if known not in list_recipes() and not isinstance(known, Path):
            return [f"{recipe} is no recipe"]
        if command == "train":
            Recipe.from_yaml(known, settings)
    return [text for text in settings if not is_setting(text)]


def is_setting(text: str) -> bool:
    """Whether some variant of the section has this key, or, for its tag, this name; the data section needs no name."""
    path, _, value = text.partition("=")
    section, _, key = path.rpartition(".")
    if (section or "data") not in Recipe.model_fields:
        return False
    variants = section_classes(section or "data")
    if TAGS.get(section) == key:
        return value in variants
    return any(key in one.model_fields for one in variants.values())
