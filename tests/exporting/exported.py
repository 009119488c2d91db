"""Small models of every method, for tests of exported files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
import torch

from hlcli.building import build_model
from hlcli.data.labels import LabelSpace
from hlcli.exporting.formats import Format, Run
from hlcli.exporting.graphs import Graph, Tensors
from hlcli.methods.base import MethodSection
from hlcli.models.folder import LoadedModel
from hlcli.recipe import Recipe, section_classes

SMALL = {"feedforward_dim": 16, "num_heads": 2}
SIZES: dict[str, dict[str, Any]] = {
    "query2label": {"hidden_dim": 16, "decoder_layers": 1, **SMALL},
    "hleg": {"hidden_dim": 16, "encoder_layers": 0, **SMALL},
    "salgl": {"num_scenes": 2, "attention_dim": 16, "graph_steps": 1, **SMALL},
    "sgre": {"attention_dim": 16, **SMALL},
    "hspnet": {"graph": "clip"},
}
LABEL_METHODS = {
    name: one
    for name, one in section_classes("model").items()
    if issubclass(one, MethodSection) and one.task == "labels"
}
LABELS = LabelSpace.from_tree({"animal": ["cat", "dog", "bird"], "thing": ["cup"]})


def label_model(method: str, *overrides: str) -> LoadedModel:
    """A model with random weights, which saw no label; labels never score above their parents."""
    has_clip = LABEL_METHODS[method].backbone_kind == "clip"
    tree = {
        "data": {"dataset": "shapes", "image_size": 32, "normalization": "clip" if has_clip else "imagenet"},
        "backbone": {"name": "clip:tiny"} if has_clip else {"name": "test_resnet.r160_in1k", "stage": 1},
        "model": {"method": method, **SIZES.get(method, {})},
        "eval": {"consistent": True},
    }
    recipe = Recipe.from_dict(tree, overrides)
    torch.manual_seed(1)
    model = build_model(recipe, LABELS, initial_weights=False, data_files=True).eval()
    return LoadedModel(model, recipe, LABELS, (0.25, 0.75), {"epoch": 3})


def untraced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files hold nothing, and the network itself runs in their place: shows in a moment what is refused."""
    graphs: dict[Path, Graph] = {}

    def write(program: object, graph: Graph, description: Mapping[str, Any], handle: IO[bytes]) -> None:
        graphs[Path(handle.name)] = graph
        handle.write(b"nothing")

    def open_file(path: Path) -> Run:
        def run(inputs: Tensors) -> dict[str, torch.Tensor]:
            with torch.no_grad():
                return dict(graphs[path].module(dict(inputs)))

        return run

    for place in ("labels", "captions"):
        monkeypatch.setattr(
            f"hlcli.exporting.{place}.trace", lambda graph: SimpleNamespace(module=lambda: graph.module)
        )
    made = Format(".pt2", lambda: None, write, open_file)  # type: ignore[arg-type]
    monkeypatch.setattr("hlcli.exporting.models.find_format", lambda name: made)
