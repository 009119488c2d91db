"""Pages agree with the code: recipe keys are those of the schema, links lead somewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from hlcli.recipe import TAGS, Recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED_TEST = re.compile(r"(tests/[a-z0-9_/]+\.py)(?:::(\w+))?")


@pytest.fixture(scope="module")
def maker() -> dict[str, Any]:
    """What docs/make_recipes_page.py defines."""
    return runpy.run_path(str(ROOT / "docs" / "make_recipes_page.py"))


def test_the_page_of_recipe_keys_is_up_to_date(maker):
    written = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert written == maker["page"](), "docs/recipes.md is out of date: run `python docs/make_recipes_page.py`."


def test_the_page_of_recipe_keys_names_every_key_with_a_description(maker):
    rows = set(re.findall(r"^\| `(\w+)` \| .+ \| .+ \| (\S.*) \|$", maker["page"](), flags=re.MULTILINE))
    described = {key for key, _ in rows}
    for section in Recipe.model_fields:
        for one in maker["variants"](section).values():
            for key, field in one.model_fields.items():
                assert key in described or key == TAGS.get(section)
                assert field.description or key == TAGS.get(section), f"{one.__name__}.{key} has no description"


def test_the_list_of_public_names_is_up_to_date():
    """A changed signature is a change for everybody: make the list anew, and write it into the CHANGELOG."""
    made = runpy.run_path(str(ROOT / "docs" / "make_api_list.py"))
    assert (ROOT / "docs" / "api.txt").read_text(encoding="utf-8") == made["page"](), (
        "docs/api.txt is out of date: run `python docs/make_api_list.py`."
    )


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (bool | None, ["`true`", "`false`", "`null`"]),
        (Literal["a", "b"] | Annotated[float, Field(gt=0, lt=1)], ["`a`", "`b`", "number > 0, < 1"]),
        (tuple[str, ...], ["list of text"]),
        (tuple[Annotated[int, Field(ge=8)], int], ["[whole number ≥ 8, whole number]"]),
    ],
)
def test_types_are_told_in_words(maker, annotation, expected):
    assert maker["options"](annotation) == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_of_the_repository_lead_somewhere(page):
    targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
    files = [target for target in targets if target and not target.startswith(("https://", "http://", "mailto:"))]
    assert [target for target in files if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_a_page_names_are_there(page):
    for path, name in NAMED_TEST.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), path
        assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {name}"
