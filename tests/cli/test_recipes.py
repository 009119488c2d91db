from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hlcli.cli.main import app
from hlcli.recipe import Recipe
from hlcli.recipe_reading.shipped import find_recipe, list_recipes


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["recipes", *words])


def test_list_shows_name_method_data_set_and_summary_of_every_recipe():
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["name", "method", "data", "set", "what", "it", "is"]
    assert [line.split()[0] for line in lines[1:]] == list(list_recipes())
    row = next(line for line in lines if line.startswith("hleg/intentonomy"))
    assert row.split()[1:3] == ["hleg", "intentonomy"]
    assert row.split()[3:6] == ["HLEG", "on", "Intentonomy,"]


def test_list_as_json_is_one_document():
    rows = json.loads(run("list", "--json").stdout)
    assert [row["name"] for row in rows] == list(list_recipes())
    assert set(rows[0]) == {"name", "method", "dataset", "summary"}


def test_show_prints_the_file_or_the_resolved_recipe():
    assert run("show", "hleg/intentonomy").stdout == find_recipe("hleg/intentonomy").read_text(encoding="utf-8")
    assert run("show", "hleg/intentonomy", "--resolved").stdout == Recipe.from_yaml("hleg/intentonomy").to_yaml()


def test_copy_says_where_the_file_went(tmp_path: Path):
    for destination, target in ((tmp_path / "new" / "mine.yaml",) * 2, (tmp_path, tmp_path / "intentonomy.yaml")):
        result = run("copy", "hleg/intentonomy", str(destination))
        assert (result.exit_code, result.stdout) == (0, f"{target}\n")
        assert target.read_bytes() == find_recipe("hleg/intentonomy").read_bytes()


def test_copy_replaces_a_file_only_when_told_to(tmp_path: Path):
    target = tmp_path / "mine.yaml"
    target.write_text("mine")
    result = run("copy", "hleg/intentonomy", str(target))
    assert result.exit_code == 2
    assert "--overwrite" in result.stderr
    assert target.read_text() == "mine"
    assert run("copy", "hleg/intentonomy", str(target), "--overwrite").exit_code == 0
    assert target.read_text() != "mine"


@pytest.mark.parametrize("name", list_recipes())
def test_validate_says_one_line_for_a_good_recipe(name):
    result = run("validate", name)
    assert (result.exit_code, len(result.stdout.splitlines()), result.stderr) == (0, 1, "")


def test_validate_lists_all_mistakes_of_file_and_overrides(tmp_path: Path):
    file = tmp_path / "bad.yaml"
    file.write_text("data: {dataset: shapes, image_sise: 3}\nmodel: {method: hleg}\n")
    result = run("validate", str(file), "--set", "optim.lr=0", "--set", "train.epochs=2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{file}: data.image_sise: unknown key. Did you mean image_size?\n" in result.stderr
    assert f"{file}: optim.lr: must be greater than 0.0 (got 0) (from --set).\n" in result.stderr


def test_several_recipes_are_all_checked(tmp_path: Path):
    assert len(run("validate", *list_recipes()[:3]).stdout.splitlines()) == 3
    bad = tmp_path / "bad.yaml"
    bad.write_text("data: {dataset: shapes, image_sise: 3}\nmodel: {method: hleg}\n")
    done = run("validate", str(bad), "quickstart", "quickstar")
    assert done.exit_code == 2
    assert done.stdout.startswith("quickstart: valid")
    assert f"{bad}: data.image_sise: unknown key." in done.stderr
    assert "Did you mean quickstart?" in done.stderr


@pytest.mark.parametrize("command", [["show"], ["validate"], ["copy"]])
def test_an_unknown_name_gets_a_suggestion(command, tmp_path: Path):
    words = [*command, "hleg/intentonomi", *([str(tmp_path / "x.yaml")] if command == ["copy"] else [])]
    result = run(*words)
    assert result.exit_code == 2
    assert "Did you mean hleg/intentonomy?" in result.stderr
