"""The recipes that travel with hlcli: where they are, and finding one by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from hlcli.errors import InputError, RecipeError, nearest
from hlcli.files import whole_file
from hlcli.recipe_reading.text import read_yaml

_PACKAGE = Path(__file__).parent.parent


def recipes_folder() -> Path:
    """`hlcli/recipes` in an installed wheel, the repository's `recipes` in a clone."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


def list_recipes() -> tuple[str, ...]:
    """Names of all shipped recipes, e.g. `hleg/intentonomy`."""
    folder = recipes_folder()
    return tuple(sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml")))


def find_recipe(path_or_name: str | Path) -> Path:
    """The file of a recipe: a file, else the name of a shipped one, else a folder with a recipe.yaml, as runs have.

    Raises:
        RecipeError: when there is neither.
    """
    text = str(path_or_name)
    if os.path.isfile(text):
        return Path(text)
    names = list_recipes()
    if text in names:
        return recipes_folder() / f"{text}.yaml"
    inside = os.path.join(text, "recipe.yaml")
    if text and os.path.isfile(inside):
        return Path(inside)
    wanted = text.replace("\\", "/").removeprefix("./").removeprefix("recipes/").removesuffix(".yaml")
    near = nearest(wanted[-100:], names)
    kind = "is a folder without recipe.yaml" if os.path.isdir(text) else "is neither a file nor a shipped recipe"
    raise RecipeError(
        f"{text or 'An empty name'} {kind}.",
        f"Did you mean {near[0]}?" if near else "`hlcli recipes list` shows the shipped ones.",
    )


class ShippedRecipe(NamedTuple):
    """A shipped recipe in a line."""

    name: str
    method: str
    dataset: str
    summary: str


def describe_recipes() -> list[ShippedRecipe]:
    """All shipped recipes; the summary is the first comment of the file."""
    described = []
    for name in list_recipes():
        path = find_recipe(name)
        tree = read_yaml(path)
        with open(path, encoding="utf-8") as file:
            summary = file.readline().strip().removeprefix("#").strip()
        described.append(ShippedRecipe(name, tree["model"]["method"], tree["data"]["dataset"], summary))
    return described


def copy_recipe(path_or_name: str | Path, destination: str | Path, *, overwrite: bool = False) -> Path:
    """Copy a recipe to a file or into a folder; returns where it went.

    Raises:
        RecipeError: when there is no such recipe.
        InputError: when the file exists and is not to be overwritten.
    """
    source, destination = find_recipe(path_or_name), Path(destination)
    target = destination / source.name if destination.is_dir() else destination
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists.", "Choose another name, or give --overwrite.")
    content = source.read_text(encoding="utf-8")
    with whole_file(target) as file:
        file.write(content)
    return target
