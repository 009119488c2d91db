from __future__ import annotations

import pytest

from hlcli.errors import RecipeError
from hlcli.recipe import Recipe
from hlcli.recipe_reading import shipped as shipped_recipes
from hlcli.recipe_reading.shipped import describe_recipes, find_recipe, list_recipes, recipes_folder
from hlcli.recipe_reading.text import parse_yaml

NUMBER_OF_RECIPES = 31


def test_every_recipe_that_should_be_shipped_is():
    files = [path for path in recipes_folder().rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".yaml"}
    assert len(files) == len(list_recipes()) == NUMBER_OF_RECIPES


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_is_valid_and_survives_being_written_out(name):
    recipe = Recipe.from_yaml(name)
    assert Recipe.from_dict(parse_yaml(recipe.to_yaml().encode(), name)) == recipe


@pytest.mark.parametrize("name", list_recipes())
def test_a_shipped_recipe_begins_with_what_it_is_and_how_to_run_it(name):
    lines = find_recipe(name).read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert lines[0] == header[0]
    assert len(lines[0]) > 20
    command = "train" if Recipe.from_yaml(name).model.needs_training else "eval"
    assert any(f"hlcli {command} --recipe recipes/{name}.yaml" in line for line in header)
    assert len(lines) <= 60


def test_descriptions_cover_all_recipes():
    assert tuple(row.name for row in describe_recipes()) == list_recipes()
    assert all(all(row) for row in describe_recipes())


def test_an_installed_package_reads_the_recipes_inside_it(tmp_path, monkeypatch):
    inside = tmp_path / "hlcli" / "recipes" / "hleg"
    inside.mkdir(parents=True)
    (inside / "mine.yaml").write_text("# Mine\ndata: {dataset: shapes}\nmodel: {method: hleg}\n")
    monkeypatch.setattr(shipped_recipes, "_PACKAGE", tmp_path / "hlcli")
    assert describe_recipes() == [("hleg/mine", "hleg", "shapes", "Mine")]
    assert find_recipe("hleg/mine") == inside / "mine.yaml"


def test_a_file_comes_before_a_shipped_recipe_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hleg").mkdir()
    (tmp_path / "hleg" / "intentonomy").write_text("data: {dataset: shapes}\nmodel: {method: hleg}\n")
    assert Recipe.from_yaml("hleg/intentonomy").data.dataset == "shapes"


def test_a_folder_with_a_recipe_is_its_recipe_unless_a_shipped_one_has_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("quickstart", "runs/mine"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "recipe.yaml").write_text("data: {dataset: shapes}\nmodel: {method: hleg}\n")
    assert Recipe.from_yaml("runs/mine").data.dataset == "shapes"
    assert find_recipe("./quickstart").parent.name == "quickstart"
    assert find_recipe("quickstart").parent == recipes_folder()
    (tmp_path / "recipe.yaml").write_text("")
    with pytest.raises(RecipeError):
        find_recipe("")  # no name is not this folder


@pytest.mark.parametrize("name", ["", "hleg", "../recipes/quickstart", "a\0b", "x" * 5000, "-"])
def test_names_that_are_no_recipes_are_refused(name):
    with pytest.raises(RecipeError):
        find_recipe(name)
