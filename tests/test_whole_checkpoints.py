"""Whole checkpoints under the names that the papers' programs give: converted, and back, weight by weight.

The names come from `benchmarks/published_checkpoints.py`, which follows the published programs and not our tables; the
benchmark beside it does the same at full size with real files. This shows that nothing is missing, left over or
changed, and not that a weight goes where it belongs: two names that are swapped come back all the same. That is shown
by `tests/methods/test_*_convert.py` and `tests/golden`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from hlcli.building import build_model
from hlcli.models.conversion import convert, export_upstream
from hlcli.models.folder import model_facts, open_upstream
from hlcli.recipe import Recipe
from hlcli.upstream import read_upstream

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import published_checkpoints as published
import published_files

SHAPES = {"dataset": "shapes", "image_size": 64, "workers": 0, "normalization": "none"}
RESNET18 = {"name": "resnet18", "pretrained": False}
LABELS = (12, 5, 3)  # of the drawn scenes, fine → coarse
TEMPLATE = "transformer.decoder.decoder_layer."


class Case(NamedTuple):
    """A recipe, the names and shapes of its published checkpoint, and what the way back cannot know."""

    recipe: Recipe
    shapes: published.Shapes
    prefix: str = ""
    lost: tuple[str, ...] = ()


def small_body(prefix: str, **options: Any) -> published.Shapes:
    return published.resnet(prefix, (2, 2, 2, 2), bottleneck=False, **options)


def small_case(method: str, folder: Path) -> Case:
    """The method with narrow parts, its files in `folder`; `salgl-positions` is SALGL with them."""
    method, _, with_positions = method.partition("-")
    sections: dict[str, Any] = {"data": SHAPES, "backbone": RESNET18}
    if method == "hleg":
        sections["model"] = {"method": method, "hidden_dim": 16, "feedforward_dim": 24}
        body = small_body("backbone.0.body.", counter=False)
        shapes = published.hleg(body, LABELS, features=512, width=16, hidden=24, grid=(2, 2))
        return Case(Recipe.from_dict(sections), shapes, "module.", (TEMPLATE,))
    if method in ("salgl", "sgre"):
        np.save(folder / "bert.npy", np.random.default_rng(0).normal(size=(12, 10)).astype(np.float32))
        given = {"label_embeddings": str(folder / "bert.npy"), "label_embedding_dim": 10}
        sections["model"] = {
            "method": method,
            "attention_dim": 16,
            "feedforward_dim": 24,
            "positions": method == "sgre" or bool(with_positions),
        }
        sections["model"] |= given
        widths: dict[str, Any] = {"features": 512, "embeddings": 10, "width": 16, "hidden": 24}
        body = small_body("backbone.")
        if method == "salgl":
            shapes = published.salgl(body, 12, grid=(2, 2) if with_positions else None, **widths)
            return Case(Recipe.from_dict(sections), shapes, "module.")
        return Case(Recipe.from_dict(sections), published.sgre(body, 12, grid=(2, 2), **widths), "module.")
    if method == "hspnet":
        clip = {
            "embed_dim": 16, "quick_gelu": True,
            "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 2},
        }  # fmt: skip
        (folder / "clip.json").write_text(json.dumps(clip))
        np.save(folder / "graph.npy", np.full((17, 17), 0.5, np.float32) + 0.5 * np.eye(17, dtype=np.float32))
        sections["backbone"] = {"name": f"clip:{folder / 'clip.json'}", "pretrained": False}
        sections["model"] = {"method": method, "graph": str(folder / "graph.npy")}
        sections["objective"] = {"loss": "splc"}
        shapes = published.hspnet(
            12, 5, common=16, text=8, text_layers=2, blocks=(1, 1, 1, 1), stem=8, places=5
        )  # fmt: skip
        return Case(Recipe.from_dict(sections), shapes)
    words = ["<unk>", "<pad>", "<bos>", "<eos>", *(f"word{number}" for number in range(30))]
    (folder / "words.json").write_text(json.dumps({"tokens": words, "counts": [5] * 34}))
    files = {f"{kind}_features": str(folder / f"{kind}.hdf5") for kind in ("grid", "region")}
    sections["data"] = {**SHAPES, **files, "vocabulary": str(folder / "words.json")}
    sections["model"] = {
        "method": "hin", "dim": 16, "num_heads": 2, "key_width": 8, "value_width": 8, "feed_forward": 24,
        "encoder_layers": 2, "decoder_layers": 2, "grid_width": 20, "region_width": 28,
    }  # fmt: skip
    sections["objective"] = {"loss": "cross_entropy"}
    shapes = published.hin(34, width=16, grid=20, region=28, hidden=24, layers=2)
    return Case(Recipe.from_dict(sections), shapes)


def small_state(case: Case) -> dict[str, Tensor]:
    state = published.random_state(case.shapes)
    if "logit_scale" in state:
        import open_clip

        _, parents, children = (level.label_names for level in case.recipe.data.label_space().levels)
        sentences = [f"a photo of a {name}." for name in parents], [f"X X X X {name}." for name in children]
        state = published.with_prompts(state, *map(open_clip.tokenize, sentences))
    return {case.prefix + name: value for name, value in state.items()}


FILES = {"hleg": published_files.hleg_file, "hin": published_files.hin_file}
OF_THE_FILE = {
    "hleg": {"epoch": 3, "arch": "Q2L-R101-448", "best_f1_samples": 0.4},
    "hin": {"epoch": 11, "val_loss": 2.5, "val_cider": 1.2, "patience": 2, "best_cider": 1.3, "use_rl": False},
}


@pytest.mark.parametrize(
    ("method", "weights"),
    [
        ("hleg", "regular"), ("salgl", "ema"), ("salgl-positions", "ema"), ("sgre", "ema"), ("hspnet", "unknown"),
        ("hin", "regular"),
    ],
)  # fmt: skip
def test_every_weight_is_converted_and_comes_back(
    method: str, weights: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = small_case(method, tmp_path)
    state = small_state(case)
    torch.save(FILES.get(method, dict)(state), tmp_path / "theirs.pth")
    model = convert(tmp_path / "theirs.pth", case.recipe, out=tmp_path / "model")
    facts = model_facts(model)
    assert (facts["weights"], facts["upstream"]) == (weights, OF_THE_FILE.get(method, {}))
    back = read_upstream(export_upstream(model, out=tmp_path / "back.pth")).state
    expected = {name.removeprefix("module."): value for name, value in state.items()}
    found = {name.removeprefix("module."): value for name, value in back.items()}
    assert set(found) == set(expected)
    changed = [name for name, value in expected.items() if not torch.equal(value, found[name])]
    assert [name for name in changed if not name.startswith(case.lost)] == [] if case.lost else changed == []
    assert "has no place for the" in caplog.text


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="only Linux tells what is mapped")
def test_weights_of_a_foreign_file_stay_in_it(tmp_path: Path) -> None:
    """They are neither drawn at random first nor copied: `hlcli convert` holds one copy, mapped."""
    case = small_case("salgl", tmp_path)
    file = tmp_path / "theirs.pth"
    torch.save(small_state(case), file)
    network = open_upstream(file, case.recipe).model
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if str(file) in line]
    places = [tuple(int(end, 16) for end in line[0].split("-")) for line in lines]
    moved = {
        name for name, value in network.state_dict().items()
        if not any(start <= value.data_ptr() < end for start, end in places)
    }  # fmt: skip
    assert moved == set()
    assert all(parameter.requires_grad for parameter in network.parameters())


def full_size(method: str) -> Case:
    """The recipe that belongs to the checkpoint which the papers' program writes by default."""
    if method == "hleg":
        shapes = published.hleg(published.resnet("backbone.0.body.", counter=False))
        return Case(Recipe.from_yaml("hleg/intentonomy"), shapes)
    if method == "hspnet":
        return Case(Recipe.from_yaml("hspnet/coco"), published.hspnet())
    if method == "hin":
        widths = ["model.grid_width=1024", "model.region_width=2048"]
        return Case(Recipe.from_yaml("hin/coco", widths), published.hin())
    body = published.resnet("backbone.")
    if method == "salgl-positions":
        shapes = published.salgl(body, grid=(14, 14))
        return Case(Recipe.from_yaml("salgl/coco", ["model.positions=true"]), shapes)
    return Case(
        Recipe.from_yaml(f"{method}/coco"), published.salgl(body) if method == "salgl" else published.sgre(body)
    )


@pytest.mark.parametrize(
    ("method", "entries"),
    [("hleg", 602), ("salgl", 661), ("salgl-positions", 662), ("sgre", 673), ("hspnet", 503), ("hin", 551)],
)
def test_all_names_and_shapes_are_those_of_the_published_size(method: str, entries: int) -> None:
    """Ours, under the published names; there are no numbers in it."""
    case = full_size(method)
    outputs: Any = range(10_201) if method == "hin" else case.recipe.data.label_space()
    with torch.device("meta"):
        model = build_model(case.recipe, outputs, initial_weights=False)
    state = case.recipe.model.to_upstream(model.state_dict(), model)
    assert {name: tuple(value.shape) for name, value in state.items()} == case.shapes
    assert len(case.shapes) == entries
