"""A label space with parents, as a data set and as words with vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import text_models
import torch

from hlcli.data.labels import LabelSpace
from hlcli.recipe import read_section
from hlcli.sections import DataSection

TREE = {"animal": ["cat", "dog"], "person": ["person"], "thing": ["potted plant"]}
LABELS = LabelSpace.from_tree(TREE)
NAMES = ["cat", "dog", "person", "potted plant", "animal", "person", "thing"]
WORDS = "person 0.5 0.5 1\nanimal 1 0.5 0\nthing -1 2 0\nobject 0 0 1\n"


@pytest.fixture(name="glove")
def given_glove(tmp_path: Path) -> str:
    return f"glove:{text_models.write_glove(tmp_path / 'words.txt', extra=WORDS)}"


def section(tmp_path: Path, tree: dict[str, list[str]] | None = None, **keys: Any) -> DataSection:
    """A data set `folder` with one image per label, and a tree of them if there is one."""
    names = [name for group in (tree or TREE).values() for name in group]
    (tmp_path / "labels.csv").write_text(
        "image,labels\n" + "".join(f"{n}.jpg,{name}\n" for n, name in enumerate(names))
    )
    if tree is not None:
        (tmp_path / "tree.yaml").write_text(json.dumps(tree))
        keys["hierarchy"] = str(tmp_path / "tree.yaml")
    values = {"dataset": "folder", "root": str(tmp_path), "images": str(tmp_path), **keys}
    return read_section("data", values | {"labels": str(tmp_path / "labels.csv")}, [], source="test")


def random_cosines(size: int) -> torch.Tensor:
    directions = torch.nn.functional.normalize(torch.rand(size, 512, generator=torch.manual_seed(0)), dim=1)
    return directions @ directions.T


def published(name: str, *, hierarchy: bool = True) -> LabelSpace:
    return read_section("data", {"dataset": name, "hierarchy": hierarchy}, [], source="test").label_space()
