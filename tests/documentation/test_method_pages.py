"""The pages of the methods keep one shape, and what they name is there: functions, equations, recipes, settings."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from source_files import parsed

from hlcli.recipe import Method, Recipe, section_classes
from hlcli.recipe_reading.shipped import find_recipe, list_recipes

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "methods"
SECTIONS = {one.model_fields["method"].default: one for one in get_args(get_args(Method)[0])}
PAGES = sorted(SECTIONS)
HEADINGS = [
    "Idea",
    "Try it",
    "Equations, line by line",
    "Settings",
    "Differences from the reference",
    "Scores",
    "Cost",
    "Published checkpoints",
]
PLACE = re.compile(r"\[[\w.]+\]\(([^)]+\.py)\) `([\w.]+)`")
FILE_ENDINGS = ("py", "json", "jsonl", "yaml", "txt", "npy", "safetensors")
RECIPE = re.compile(r"(?:recipes/)?((?:\w+/)?[\w-]+?)(?:\.yaml)?")


@cache
def text_of(page: str) -> str:
    return (FOLDER / f"{page}.md").read_text(encoding="utf-8")


def part(page: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its rank."""
    return text_of(page).split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> Iterator[list[str]]:
    """Cells of the first table of a text, its head left out."""
    table = re.search(r"(?:^\|.*\|$\n?)+", text, flags=re.MULTILINE)
    assert table, "no table"
    for line in table[0].splitlines()[2:]:
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def code_spans(page: str) -> list[str]:
    """What stands between single backticks outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE))


def commands(page: str) -> Iterator[list[str]]:
    """Arguments of every hlcli command in code blocks and backticks; `…` stands for what is left out."""
    blocks = re.findall(r"^```\n(.*?)^```$", text_of(page), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()] + code_spans(page)
    for line in lines:
        for command in re.findall(r"(?:^|&& |accelerate launch )(hlcli [a-z]+ [^&]+)", line):
            words = shlex.split(command, comments=True)
            if len(words) > 2:
                yield [word for word in words[1:] if word != "…"]


def function(path: Path, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class, method or function of that dotted name."""
    found, inside = None, parsed(path).body
    for wanted in name.split("."):
        kinds = ast.ClassDef | ast.FunctionDef
        found = next((node for node in inside if isinstance(node, kinds) and node.name == wanted), None)
        inside = [] if found is None else found.body
    return found


def keys_of(section: str) -> set[str]:
    """All keys that a section of a recipe can have."""
    return {key for one in section_classes(section).values() for key in one.model_fields}


def test_every_method_has_its_page_and_no_page_is_left_over():
    assert sorted(path.stem for path in FOLDER.glob("*.md")) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_the_same_headings_in_the_same_order(page):
    assert re.findall(r"^## (.+)$", text_of(page), flags=re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("page", PAGES)
def test_every_equation_leads_to_a_function_which_bears_its_number(page):
    numbers = []
    for number, *_, where in rows(part(page, "Equations, line by line")):
        places = PLACE.findall(where)
        assert places, f"{number}: no place"
        assert not PLACE.sub("", where).strip(", "), f"{number}: {where}"
        for link, name in places:
            path = (FOLDER / link).resolve()
            node = function(path, name)
            assert node is not None, f"{number}: {link} has no {name}"
            if path.is_relative_to(ROOT / "hlcli" / "methods" / page):
                lines = path.read_text(encoding="utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
                assert number in "\n".join(lines), f"{name} in {link} does not say {number}"
        numbers.append(number)
    assert all(re.fullmatch(r"\(\w+\)", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("page", PAGES)
def test_every_number_in_the_code_is_an_equation_of_the_page(page):
    known = {number for number, *_ in rows(part(page, "Equations, line by line"))}
    for path in (ROOT / "hlcli" / "methods" / page).glob("*.py"):
        comments = re.findall(r"#(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert set(re.findall(r"(?<![\w)])\((?:\d+|\w)\)", " ".join(comments))) <= known, path.name


@pytest.mark.parametrize("page", PAGES)
def test_settings_have_the_defaults_that_the_page_says(page):
    fields = SECTIONS[page].model_fields
    for keys, default, *_ in rows(part(page, "Settings")):
        names = re.findall(r"`(\w+)`", keys)
        said = yaml.safe_load(f"[{default.replace('`', '')}]")
        said = said * len(names) if len(said) == 1 else said
        real = [fields[name].default for name in names]
        assert said == [list(value) if isinstance(value, tuple) else value for value in real], keys


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_a_page_names_are_keys_of_recipes(page):
    for span in code_spans(page):
        for word in span.split():
            named = re.match(rf"({'|'.join(Recipe.model_fields)})\.([a-z_0-9]+)(?==|:|$)", word)
            if named and named[2] not in FILE_ENDINGS:
                assert named[2] in keys_of(named[1]), span


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_the_recipes_of_its_method_and_no_others_that_are_not_there(page):
    shipped = {name: yaml.safe_load(find_recipe(name).read_text(encoding="utf-8")) for name in list_recipes()}
    spans, folders = set(code_spans(page)), {name.partition("/")[0] for name in shipped if "/" in name}
    named = {span for span in spans if re.fullmatch(rf"(?:{'|'.join(folders)})/[\w-]+", span)}
    assert named <= set(shipped)
    assert {name for name, recipe in shipped.items() if recipe["model"]["method"] == page} <= spans


def opened(command: Any) -> Any:
    """A command's context before any argument is read; unknown options are an error in it."""
    context = command.make_context("hlcli", [], resilient_parsing=True)
    context.resilient_parsing = False
    return context


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_are_understood(page):
    import typer

    from hlcli.cli.main import app

    for words in commands(page):
        command: Any = typer.main.get_command(app)
        arguments = list(words)
        while hasattr(command, "get_command"):
            command = command.get_command(opened(command), arguments.pop(0))
            assert command is not None, words
        given = command.make_parser(opened(command)).parse_args(arguments)[0]
        if given.get("recipe"):
            name = RECIPE.fullmatch(given["recipe"])
            assert name, words
            Recipe.from_yaml(name[1], given.get("overrides") or [])
