"""Whoever uses the public names can name the types that they take and give, and a type checker knows them."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

import hlcli

ROOT = Path(hlcli.__file__).parent


SETTINGS = {"Recipe", "DataSection", "EvalSection"}
"""What they are made of are the keys of docs/recipes.md."""


def test_types_in_public_signatures_are_public():
    private = {
        f"{name}: {home}.{used}"
        for name in set(hlcli._HOMES) - SETTINGS
        for used, home in types_of(name)
        if used.startswith("_") or (hlcli._HOMES.get(used) != home and is_type(used, home))
    }
    assert private == set()


def types_of(name: str) -> Iterator[tuple[str, str]]:
    """Types of the package in the signature of a public function, or in those of a class's fields and methods."""
    home = hlcli._HOMES[name]
    tree = tree_of(home)
    found = next(node for node in tree.body if getattr(node, "name", None) == name or name in targets(node))
    parts = [found] if not isinstance(found, ast.ClassDef) else found.body
    known = names_of(tree, home)
    for part in parts:
        for annotation in annotations(part):
            for node in ast.walk(annotation):
                if isinstance(node, ast.Name) and node.id in known:
                    yield node.id, known[node.id]


def annotations(node: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(node, ast.FunctionDef) and is_public(node.name):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
        yield from (argument.annotation for argument in arguments if argument and argument.annotation)
        yield from filter(None, [node.returns])
    elif isinstance(node, ast.AnnAssign) and not any(target.startswith("_") for target in targets(node)):
        yield node.annotation
    elif isinstance(node, ast.Assign):  # an alias
        yield node.value


def is_public(name: str) -> bool:
    return not name.startswith("_") or name == "__init__"


def names_of(tree: ast.Module, home: str) -> dict[str, str]:
    """Names of the package that a module uses, each with the module that defines it."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    taken = {
        alias.name: node.module for node in imports if (node.module or "").startswith("hlcli") for alias in node.names
    }
    own = [name for node in tree.body for name in [getattr(node, "name", ""), *targets(node)]]
    return {**{name: str(module) for name, module in taken.items()}, **dict.fromkeys(own, home)}


def targets(node: ast.stmt) -> list[str]:
    given = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in given if isinstance(target, ast.Name)]


def is_type(name: str, home: str) -> bool:
    """Whether a module defines a class or an alias of that name, not what only stands for a type."""
    for node in tree_of(home).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return True
        if name in targets(node):
            return not (isinstance(node.value, ast.Call) and ast.unparse(node.value.func).endswith("TypeVar"))
    return False


@cache
def tree_of(module: str) -> ast.Module:
    path = ROOT.parent / module.replace(".", "/")
    return ast.parse(path.with_suffix(".py").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("options", "made"),
    [(hlcli.PredictorOptions, hlcli.Predictor), (hlcli.CaptionOptions, hlcli.CaptionPredictor)],
)
def test_options_are_those_of_the_predictor(options: type, made: Callable[..., object]):
    parameters = inspect.signature(made).parameters.values()
    own = {one.name: one.annotation for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert own == {name: written.__forward_arg__ for name, written in options.__annotations__.items()}


PROGRAM = """
import hlcli

predictor = hlcli.load("runs/a", thresholds=[0.5], top_k=3)
reveal_type(predictor)  # hlcli.prediction.labels.Predictor
reveal_type(predictor.predict(["a.jpg", b"bytes"]).top(3))  # list[list[tuple[str, float]]]
for result in predictor.stream("a.jpg"):
    if isinstance(result, hlcli.Failure):
        reveal_type(result.error)  # str
    else:
        reveal_type(result.labels[0].score)  # float
reveal_type(hlcli.load_captioner(["a", "b"], num_captions=2).caption("a.jpg")[0].caption)  # str
reveal_type(hlcli.open_model("runs/a").thresholds)  # tuple[float | tuple[float, ...], ...] | None
reveal_type(hlcli.evaluate("runs/a").metrics["mAP"])  # float
reveal_type(hlcli.train(hlcli.Recipe.from_yaml("quickstart"), "runs/a"))  # hlcli.runs.Run
reveal_type(hlcli.debug_data("shapes").findings[0].what)  # str
hlcli.load("runs/a", topk=3)  # Unexpected keyword argument "topk" for "load"
hlcli.load("runs/a", top_k="3")  # Argument "top_k" to "load" has incompatible type "str"
hlcli.lod("runs/a")  # Module has no attribute "lod"
"""

LIBRARIES_UNREAD = """
[mypy]
strict = true
follow_imports = skip
[mypy-hlcli.*]
follow_imports = silent
"""


def test_a_type_checker_knows_what_programs_get(tmp_path: Path):
    """As strictly as can be; other libraries are left out, they would take a minute."""
    pytest.importorskip("mypy")
    assert (ROOT / "py.typed").is_file()
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(LIBRARIES_UNREAD)
    words = [sys.executable, "-m", "mypy", "--cache-dir", "cache", "--no-error-summary", "program.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    said: dict[int, str] = {}
    for line in done.stdout.splitlines():
        _, number, text = line.split(":", 2)
        said[int(number)] = f"{said.get(int(number), '')}{text}\n"
    for number, line in enumerate(PROGRAM.splitlines(), start=1):
        expected = line.partition("  # ")[2]
        assert (expected in said.get(number, "")) if expected else number not in said, (line, said.get(number))
