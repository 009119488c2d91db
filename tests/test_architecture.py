from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from source_files import imports_of, parsed

import hlcli
from hlcli.recipe import section_classes

ROOT = Path(hlcli.__file__).parent

# Floors of the house, the longest fitting prefix counts; whatever is not named here is an orchestrating verb (4).
FLOORS = {
    "hlcli.cli": 5,
    "hlcli.__main__": 5,
    "hlcli": 4,
    "hlcli.backbones": 3,
    "hlcli.captioning": 3,
    "hlcli.clip": 3,
    "hlcli.clip_grid": 3,
    "hlcli.data.augment": 3,
    "hlcli.data.caption_export": 3,
    "hlcli.captioning.loader": 3,
    "hlcli.data.encoding": 3,
    "hlcli.data.export": 3,
    "hlcli.data.kept_labels": 3,
    "hlcli.data.loader": 3,
    "hlcli.data.loader_processes": 3,
    "hlcli.data.preparation": 4,
    "hlcli.data.remote_store": 3,
    "hlcli.data.store": 3,
    "hlcli.data.store_writing": 3,
    "hlcli.data.transforms": 3,
    "hlcli.embeddings": 3,
    "hlcli.encoders": 3,
    "hlcli.features": 3,
    "hlcli.features.embedding": 4,
    "hlcli.features.images": 4,
    "hlcli.features.shards": 4,
    "hlcli.fitting_weights": 3,
    "hlcli.hub.names": 3,
    "hlcli.methods": 3,
    "hlcli.report.files": 3,
    "hlcli.sharding": 3,
    "hlcli.upstream": 3,
    "hlcli.visualization": 3,
    "hlcli.layers": 2,
    "hlcli.losses": 2,
    "hlcli.metrics": 2,
    "hlcli.captioning.config": 1,
    "hlcli.captioning.decoders": 1,
    "hlcli.data": 1,
    "hlcli.data.data_set_names": 1,
    "hlcli.embeddings.texts": 1,
    "hlcli.losses.config": 1,
    "hlcli.losses.missing_config": 1,
    "hlcli.losses.section": 1,
    "hlcli.methods.base": 1,
    "hlcli.metrics.captioning.names": 1,
    "hlcli.methods.captions": 1,
    "hlcli.methods.label_attention": 1,
    "hlcli.recipe": 1,
    "hlcli.recipe_reading": 1,
    "hlcli.section_base": 1,
    "hlcli.sections": 1,
    "hlcli.errors": 0,
    "hlcli.files": 0,
    "hlcli.interrupts": 0,
    "hlcli.json_text": 0,
    "hlcli.library_errors": 0,
    "hlcli.locks": 0,
    "hlcli.plain_text": 0,
    "hlcli.profiling": 0,
    "hlcli.progress": 0,
    "hlcli.torch_files": 0,
    "hlcli.worker_processes": 0,
}

SHARED_BY_METHODS = {
    f"hlcli.methods.{name}" for name in ("base", "captions", "label_attention", "label_head", "reference_names")
}

HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "datasets",
    "spacy",
    "transformers",
    "open_clip",
    "numpy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "PIL",
    "safetensors",
    "httpx",
    "wordcloud",
    "h5py",
    "jinja2",
    "sklearn",
    "scipy",
    "umap",
}


def modules() -> dict[str, Path]:
    """All modules of the package by dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def floor(module: str) -> int:
    if module.startswith("hlcli.methods.") and module.endswith(".config"):
        return 1
    while module not in FLOORS:
        module = module.rpartition(".")[0]
    return FLOORS[module]


@cache
def arrows() -> list[tuple[str, str]]:
    """(importing module, imported module) for all imports inside the package."""
    known, found = modules(), []
    for module, path in known.items():
        for name in imports_of(path):
            target = name if name in known else name.rpartition(".")[0]
            if target in known and target != "hlcli":
                found.append((module, target))
    return found


def test_imports_point_down():
    upward = [f"{module} → {target}" for module, target in arrows() if floor(target) > floor(module)]
    assert not upward


def test_layers_losses_and_metrics_know_nothing_of_recipes_and_files():
    allowed = ("hlcli.layers", "hlcli.losses", "hlcli.metrics", "hlcli.data.labels", "hlcli.errors")
    strangers = [
        f"{module} → {target}" for module, target in arrows() if floor(module) == 2 and not target.startswith(allowed)
    ]
    assert not strangers


def test_methods_do_not_know_each_other():
    meetings = [
        f"{module} → {target}"
        for module, target in arrows()
        if module.startswith("hlcli.methods.")
        and target.startswith("hlcli.methods.")
        and target not in SHARED_BY_METHODS
        and module.split(".")[2] != target.split(".")[2]
        and module not in SHARED_BY_METHODS
    ]
    assert not meetings


def room(module: str) -> str:
    """The package or top module that it belongs to, with its floor: settings of a package are a room of their own."""
    return f"{module.split('.')[1]}, floor {floor(module)}"


def test_import_arrows_make_no_circle():
    assert_no_circle(arrows())


def test_rooms_make_no_circle():
    """Two packages do not need each other. The settings, floor 1, are one big room: recipes name them all."""
    assert_no_circle(
        (room(module), room(target))
        for module, target in arrows()
        if floor(target) > 1 and module.count(".") > 0 and room(module) != room(target)
    )


def assert_no_circle(pairs: Iterable[tuple[str, str]]) -> None:
    """Follow (importing, imported) as far as they lead."""
    graph: dict[str, set[str]] = {}
    for module, target in pairs:
        graph.setdefault(module, set()).add(target)
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"circle: {' → '.join([*path[path.index(module) :], module])}"
        if module not in done:
            for target in sorted(graph.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_no_condition_names_a_method_or_a_data_set():
    """Outside their own folders code asks what a section offers, never what it is called."""
    names = {*section_classes("model"), *section_classes("data")} - {"captions"}  # that is a task's name too
    asked = [
        f"{module}: {ast.unparse(node)}"
        for module, path in modules().items()
        if not module.startswith(("hlcli.methods.", "hlcli.data.datasets."))
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Compare | ast.match_case)
        for part in ast.walk(node if isinstance(node, ast.Compare) else node.pattern)
        if isinstance(part, ast.Constant) and part.value in names
    ]
    assert asked == []


def test_init_files_below_the_top_are_empty():
    full = [name for name, path in modules().items() if path.name == "__init__.py" and name != "hlcli"]
    assert [name for name in full if modules()[name].read_text(encoding="utf-8").strip()] == []


def test_functions_that_draw_never_save():
    """They give figures back; what becomes a file goes through one function, which writes it whole."""
    saving = [
        f"{module}: {node.attr}"
        for module, path in modules().items()
        if module != "hlcli.visualization.saving"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute) and node.attr in {"savefig", "print_figure", "pyplot"}
    ]
    drawing = [
        f"{module}: {name}"
        for module, path in modules().items()
        if module.startswith("hlcli.visualization.") and module != "hlcli.visualization.saving"
        for name in imports_of(path)
        if name.startswith(("hlcli.files", "pathlib", "matplotlib.pyplot"))
    ]
    assert saving + drawing == []


def test_no_module_is_named_like_a_library_that_it_could_hide():
    taken = sys.stdlib_module_names | {"torch", "timm", "datasets", "evaluate", "accelerate", "tokenizers", "yaml"}
    top = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert top & taken == set()


RUN = """
import sys
from hlcli.cli.main import main
sys.argv = ["hlcli", *{words!r}]
try: main()
except SystemExit: pass
"""


@pytest.mark.parametrize(
    ("code", "also_light"),
    [
        ("import hlcli", {"typer", "pydantic", "yaml", "rich"}),
        ("import hlcli.recipe", {"typer", "rich"}),
        ("import hlcli.progress", {"rich", "pydantic"}),
        (RUN.format(words=["--help"]), {"pydantic", "yaml", "rich"}),
        (RUN.format(words=["--version"]), {"pydantic", "yaml", "rich"}),
        (RUN.format(words=["train", "--help"]), {"yaml", "rich"}),
        (RUN.format(words=["recipes", "list"]), {"rich"}),
        (RUN.format(words=["recipes", "validate", "quickstart"]), {"rich"}),
    ],
)
def test_light_work_loads_no_heavy_library(code, also_light):
    """In an interpreter of its own, because this one has loaded everything."""
    code += "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT.parent
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert loaded & (HEAVY | also_light) == set()


def test_the_lowest_floors_load_no_heavy_library():
    low = [module for module in modules() if floor(module) <= 1]
    assert "hlcli.methods.hleg.config" in low
    code = "\n".join(f"import {module}" for module in low)
    test_light_work_loads_no_heavy_library(code, set())
