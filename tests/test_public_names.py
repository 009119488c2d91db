"""What is public: the names of the package, which are all that commands use; the rest is private by name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_files import imports_of, names_taken, parsed

import hlcli
from hlcli import errors

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "hlcli"


def test_public_names_are_defined_where_the_package_looks_for_them():
    assert sorted(hlcli.__all__) == dir(hlcli)
    for name, home in hlcli._HOMES.items():
        path = ROOT.parent / home.replace(".", "/")
        assert name in defined_names(ast.parse(path.with_suffix(".py").read_text(encoding="utf-8"))), name


def test_type_checkers_see_the_names_that_programs_get():
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names if alias.name == alias.asname}
    assert seen == hlcli._HOMES


def test_every_error_that_users_meet_is_public():
    kinds = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 9
    assert [name for name in kinds if name not in hlcli.__all__] == []


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = hlcli.trian


def test_commands_use_the_public_interface_alone():
    """Beside it: how this process is started, stopped and seen, which is no business of the library's users."""
    own = ("hlcli.cli", "hlcli.interrupts", "hlcli.launching", "hlcli.library_errors", "hlcli.plain_text",
           "hlcli.progress")  # fmt: skip
    inner = [
        f"{path}: {name}"
        for path in (ROOT / "cli").glob("*.py")
        for name in imports_of(path, in_functions=True)
        if name.startswith("hlcli.") and not name.startswith(own) and name.removeprefix("hlcli.") not in hlcli.__all__
    ]
    assert not inner


def test_what_one_module_alone_uses_is_private_by_name():
    """Names that another file imports, reaches as an attribute or spells out are shared, and those that contributors
    are told to edit; all others begin with `_`."""
    shown = set(re.findall(r"\w+", (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")))
    trees = {path: parsed(path) for path in source_files()}
    users: dict[str, set[Path]] = {}
    for path, tree in trees.items():
        for name in names_of_others(tree):
            users.setdefault(name, set()).add(path)
    lonely = [
        f"{path}: {name}"
        for path, tree in trees.items()
        if path.is_relative_to(ROOT) and "cli" not in path.parts
        for name in defined_names(tree)
        if not name.startswith("_") and name not in {"logger", *shown} and not users.get(name, set()) - {path}
    ]
    assert not lonely


def source_files() -> Iterator[Path]:
    """All Python files of the project."""
    for folder in ("hlcli", "tests", "benchmarks", "docs"):
        yield from (REPOSITORY / folder).rglob("*.py")


def names_of_others(tree: ast.Module) -> Iterator[str]:
    """Names that a file takes from other ones."""
    yield from names_taken(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def defined_names(tree: ast.Module) -> Iterator[str]:
    """What a module defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id
