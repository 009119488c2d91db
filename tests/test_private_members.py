"""Members of other packages that are private there: an upgrade that takes them away fails here, with their names."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from source_files import names_taken, parsed

ROOT = Path(__file__).parents[1] / "hlcli"
DOCUMENTED = {"_asdict", "_exit", "_fields", "_replace"}
"""Of named tuples and `os`: public in spite of their names."""


def accelerator_state() -> Any:
    from accelerate.state import AcceleratorState

    return AcceleratorState


def batch_norms() -> Any:
    from torch.nn.modules import batchnorm

    return batchnorm


def clip_tower() -> Any:
    open_clip = pytest.importorskip("open_clip", reason="the extra `test` brings it")
    return open_clip.transformer.VisionTransformer


def loader() -> Any:
    from torch.utils.data import DataLoader

    return DataLoader([1], num_workers=1)


def iterator_with_workers() -> Any:
    from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

    return _MultiProcessingDataLoaderIter


def iterator_at_work() -> Any:
    from torch.utils.data import DataLoader

    return iter(DataLoader([0], num_workers=1))


def storage_of_no_device() -> Any:
    import torch

    return torch.empty(1, device="meta").untyped_storage()


def tensor() -> Any:
    import torch

    return torch.empty(1)


def torch_itself() -> Any:
    import torch

    return torch


MEMBERS: dict[str, Callable[[], Any]] = {
    "_BatchNorm": batch_norms,
    "_cdata": storage_of_no_device,
    "_embeds": clip_tower,
    "_foreach_div_": torch_itself,
    "_foreach_lerp_": torch_itself,
    "_iterator": loader,
    "_pool": clip_tower,
    "_reset_state": accelerator_state,
    "_shared_state": accelerator_state,
    "_shutdown_workers": iterator_with_workers,
    "_version": tensor,
    "_workers": iterator_at_work,
}
"""Name to what has it."""


@pytest.mark.parametrize("name", MEMBERS)
def test_private_members_that_are_used_are_there(name: str):
    assert hasattr(MEMBERS[name](), name), f"{name} is gone: see where hlcli uses it"


def test_no_other_private_member_is_used():
    trees = [parsed(path) for path in ROOT.rglob("*.py")]
    own = {name for tree in trees for name in defined(tree)}
    used = {name for tree in trees for name in reached(tree) if re.match(r"_[^_]", name)}
    assert used - own - DOCUMENTED == set(MEMBERS)


def defined(tree: ast.Module) -> Iterator[str]:
    """Names of functions, classes, variables and attributes that a file makes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            yield node.attr


def reached(tree: ast.Module) -> Iterator[str]:
    """Names that a file takes from modules and objects."""
    yield from names_taken(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            yield from (argument.value for argument in node.args[1:2] if isinstance(argument, ast.Constant))
