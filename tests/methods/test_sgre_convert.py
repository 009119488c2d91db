"""Weights of the published SGRE code ⇄ ours, by name, by shape, and through files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_states import cpu_state
from safetensors.torch import load_file
from tiny import TINY
from torch import Tensor

import hlcli
from hlcli.backbones import build_backbone
from hlcli.building import build_model
from hlcli.data.labels import LabelSpace
from hlcli.embeddings.labels import LabelEmbeddings, write_label_embeddings
from hlcli.errors import CheckpointError, DataError
from hlcli.layers.position import sine_position
from hlcli.methods.sgre.config import Sgre
from hlcli.models.conversion import convert
from hlcli.models.folder import load_weights, read_model
from hlcli.recipe import Recipe

from .sgre_parts import TinyBackbone, batch_of, make

SMALL = {"method": "sgre", "attention_dim": 8, "num_heads": 2, "feedforward_dim": 12, "positions": True}


def exported(**fields: Any) -> tuple[Sgre, Any, dict[str, Tensor]]:
    """Section, network with uneven numbers everywhere, and its published state."""
    section, model = make(**fields)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name != "head.position":
            torch.nn.init.uniform_(value, 0.1, 0.9)
    return section, model, section.to_upstream(model.state_dict(), model)


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return set(first) == set(second) and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize(
    "fields",
    [{"positions": True}, {"pre_norm": True, "encoder_layers": 2}, {"label_embeddings": "x.npy", "encoder_layers": 0}],
)
def test_weights_survive_the_way_there_and_back_bit_by_bit(fields: dict[str, Any], prefix: str) -> None:
    section, model, published = exported(**fields)
    wrapped = {prefix + name: value for name, value in published.items()}
    ours = section.from_upstream(wrapped, model)
    assert same(ours, model.state_dict())
    assert same(section.to_upstream(ours, model), published)
    images = batch_of().images
    expected = model.eval()(images).logits
    _, other = make(**fields)
    load_weights(other, ours, "the test")
    assert torch.equal(other.eval()(images).logits, expected)


def test_every_linear_goes_to_its_place() -> None:
    section, model, published = exported()
    ours = section.from_upstream(published, model)
    for theirs, name in {
        "net1.0.weight": "token_query.linear.weight", "net1.1.running_var": "token_query.norm.running_var",
        "net2.0.weight": "label_key.linear.weight", "net2.1.running_mean": "label_key.norm.running_mean",
        "net3.0.weight": "label_value.linear.weight", "net3.1.weight": "label_value.norm.weight",
        "net4.0.weight": "context_projection.linear.weight", "net4.1.bias": "context_projection.norm.bias",
        "attention.linear1.weight": "attention.token_projection.weight",
        "attention.linear2.weight": "attention.label_projection.weight",
        "attention.hidden_linear.bias": "attention.hidden_linear.bias",
        "attention.target_linear.weight": "attention.target_linear.weight",
        "encoder.layers.0.linear1.weight": "encoder.layers.0.feed_forward.expand.weight",
        "encoder.layers.0.norm1.weight": "encoder.layers.0.self_norm.weight",
        "encoder.layers.0.norm2.weight": "encoder.layers.0.feed_norm.weight",
        "fc.bias": "label_classifier.offset", "fc2.3.bias": "classifier.output.bias",
        "fc2.0.bias": "classifier.from_token.bias", "embeddings": "label_embeddings",
    }.items():  # fmt: skip
        value = published[theirs]
        expected = value.flatten(1) if theirs.endswith(".0.weight") and theirs.startswith("net") else value
        torch.testing.assert_close(ours["head." + name], expected, rtol=0, atol=0, msg=theirs)
    token, context = published["fc2.0.weight"].chunk(2, dim=1)
    assert torch.equal(ours["head.classifier.from_token.weight"], token)
    assert torch.equal(ours["head.classifier.from_context.weight"], context)


@pytest.mark.parametrize("embeddings", ["random", "bert.npy"])
def test_names_and_shapes_are_those_of_the_published_size(embeddings: str) -> None:
    labels = LabelSpace.flat([f"{i}" for i in range(80)])
    section = Sgre(label_embeddings=embeddings, positions=True)  # type: ignore[arg-type]
    with torch.device("meta"):
        model = section.build(build_backbone("resnet101.tv_in1k", (448, 448)), labels)
    published = section.to_upstream(model.state_dict(), model)
    body = {name: value for name, value in published.items() if name.startswith("backbone.")}
    assert len(body) == 624
    assert published["backbone.layer3.22.conv3.weight"].shape == (1024, 256, 1, 1)
    head = {name: tuple(value.shape) for name, value in published.items() if name not in body}
    assert head == published_head(labels=80, dim=2048, side=14) | (
        {"embeddings": (80, 768)} if embeddings == "random" else {}
    )
    load_weights(model, section.from_upstream({f"module.{k}": v for k, v in published.items()}, model), "meta")


def published_head(*, labels: int, dim: int, side: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint behind the backbone."""
    layer = "encoder.layers.0"
    shapes: dict[str, tuple[int, ...]] = {
        "position_embedding.pe": (1, dim, side, side),
        f"{layer}.self_attn.in_proj_weight": (3 * dim, dim), f"{layer}.self_attn.in_proj_bias": (3 * dim,),
        f"{layer}.self_attn.out_proj.weight": (dim, dim), f"{layer}.self_attn.out_proj.bias": (dim,),
        f"{layer}.linear1.weight": (2048, dim), f"{layer}.linear1.bias": (2048,),
        f"{layer}.linear2.weight": (dim, 2048), f"{layer}.linear2.bias": (dim,),
        "attention.linear1.weight": (1024, dim), "attention.linear2.weight": (1024, 768),
        "attention.hidden_linear.weight": (1024, 1024), "attention.hidden_linear.bias": (1024,),
        "attention.target_linear.weight": (1, 1024), "attention.target_linear.bias": (1,),
        "fc.weight": (labels, dim), "fc.bias": (labels,),
        "fc2.0.weight": (2 * dim, 2 * dim), "fc2.0.bias": (2 * dim,),
        "fc2.3.weight": (labels, 2 * dim), "fc2.3.bias": (labels,),
    }  # fmt: skip
    for norm in ("norm1", "norm2"):
        shapes |= {f"{layer}.{norm}.weight": (dim,), f"{layer}.{norm}.bias": (dim,)}
    for number in range(1, 5):
        shapes[f"net{number}.0.weight"] = (dim, dim, 1)
        shapes |= {f"net{number}.1.{part}": (dim,) for part in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"net{number}.1.num_batches_tracked"] = ()
    return shapes


def test_a_transformers_unused_classifier_is_left_out() -> None:
    section = Sgre(attention_dim=8, num_heads=2, feedforward_dim=12, positions=True)
    backbone = build_backbone("vit_tiny_patch16_224", (32, 32), class_token=True)
    model: Any = section.build(backbone, LabelSpace.flat(["a", "b"]))
    published = section.to_upstream(model.state_dict(), model)
    assert published["position_embedding.pe"].shape == (1, 192, 2, 2)
    unused = {"backbone.head.weight": torch.ones(1000, 192), "backbone.head.bias": torch.ones(1000)}
    assert same(section.from_upstream(published | unused, model), model.state_dict())
    assert not model.head.position[0].any()  # the class token has no place


def test_positions_that_are_not_used_are_dropped_and_made_again() -> None:
    section, model, published = exported()
    assert "head.position" not in model.state_dict()
    table = published["position_embedding.pe"]
    assert torch.equal(table.flatten(2)[0].T, sine_position(2, 3, 16))
    del published["position_embedding.pe"]
    assert same(section.from_upstream(published, model), model.state_dict())


def test_a_cvt_has_positions_of_its_own_grid() -> None:
    backbone = TinyBackbone((4, 6))
    backbone.name = "cvt_w24_384.in22k"
    section, model, published = exported(backbone=backbone, positions=True)
    assert published["position_embedding.pe"].shape == (1, 16, 2, 3)  # of a stride of 32, which fits no token
    assert same(section.from_upstream(published, model), model.state_dict())


def test_missing_counters_and_positions_are_filled_in() -> None:
    section, model, published = exported(positions=True)
    lean = {k: v for k, v in published.items() if k != "position_embedding.pe" and "num_batches" not in k}
    assert set(section.from_upstream(lean, model)) == set(model.state_dict())


def test_unknown_names_are_listed() -> None:
    section, model, published = exported()
    with pytest.raises(CheckpointError, match=r"1 name does not belong to a checkpoint of SGRE: net5\.0\.weight"):
        section.from_upstream({**published, "net5.0.weight": torch.ones(1)}, model)


def test_missing_weights_are_named() -> None:
    section, model, published = exported()
    del published["fc2.0.weight"]
    with pytest.raises(CheckpointError, match=r"2 keys missing \(head\.classifier\.from_context\.weight"):
        load_weights(model, section.from_upstream(published, model), "a.pth")


def test_trained_embeddings_are_not_mistaken_for_given_ones() -> None:
    _, _, published = exported()
    section, model = make(label_embeddings="given.npy")
    with pytest.raises(CheckpointError, match=r"trained label embeddings.*Set model\.label_embeddings=random"):
        section.from_upstream(published, model)


def recipe_with(embeddings: object, root: Path, *overrides: str) -> Recipe:
    """The tiny recipe with SGRE and given embeddings of width 6."""
    model = {**SMALL, "label_embeddings": str(embeddings), "label_embedding_dim": 6}
    return Recipe.from_dict({**TINY, "model": model}, (f"data.root={root}", *overrides))


def with_prepared_embeddings(root: Path) -> tuple[Recipe, torch.nn.Module]:
    """A recipe, the file of prepared embeddings, and a network with them."""
    recipe = recipe_with("prepared", root)
    labels = recipe.data.label_space()
    vectors = torch.arange(1.0, 6 * labels.num_labels + 1).reshape(-1, 6)
    file = recipe.data.folder() / "label_embeddings.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_label_embeddings(file, LabelEmbeddings(vectors, labels.label_names, labels.label_names, "none", {}))
    return recipe, build_model(recipe, labels)


def test_a_published_checkpoint_finds_the_prepared_embeddings(tmp_path: Path) -> None:
    recipe, model = with_prepared_embeddings(tmp_path / "data")
    published = recipe.model.to_upstream(cpu_state(model), model)
    assert "embeddings" not in published
    path = tmp_path / "best_ema_model.pth"
    torch.save({f"module.{name}": value for name, value in published.items()}, path)
    assert same(read_model(path, recipe).model.state_dict(), model.state_dict())
    folder = convert(path, recipe, out=tmp_path / "ours")
    (recipe.data.folder() / "label_embeddings.safetensors").unlink()
    assert same(read_model(folder).model.state_dict(), model.state_dict())  # a model folder is complete
    with pytest.raises(DataError, match=r"label_embeddings\.safetensors is missing.*hlcli embed labels"):
        read_model(path, recipe)


def test_the_papers_array_of_embeddings_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "bert.npy"
    recipe = recipe_with(file, tmp_path)
    labels = recipe.data.label_space()
    vectors = np.random.default_rng(0).random((labels.num_labels, 6))
    np.save(file, vectors)
    model: Any = build_model(recipe, labels)
    np.testing.assert_array_equal(model.head.label_embeddings, vectors.astype(np.float32))


def test_training_starts_from_published_weights_but_for_the_classifiers(tmp_path: Path) -> None:
    """The published `--pretrained-model`: all but `fc…`, which means both classifiers."""
    recipe, model = with_prepared_embeddings(tmp_path / "data")
    path = tmp_path / "best_ema_model.pth"
    published = recipe.model.to_upstream(cpu_state(model), model)
    torch.save({f"module.{name}": value for name, value in published.items()}, path)
    settings = (f"train.init_weights={path}", "train.init_omit=[head.label_classifier, head.classifier]",
                "train.epochs=1", "optim.lr=1e-30", "optim.weight_decay=0", "train.ema_decay=null")  # fmt: skip
    run = hlcli.train(recipe_with("prepared", tmp_path / "data", *settings), tmp_path / "run")
    trained, start = load_file(run.model_folder / "model.safetensors"), model.state_dict()
    weights = dict(model.named_parameters())
    fresh = {name for name in weights if not torch.allclose(trained[name], start[name], rtol=0, atol=1e-20)}
    omitted = {name for name in weights if name.startswith(("head.label_classifier", "head.classifier"))}
    assert fresh == omitted
    assert torch.equal(trained["head.label_embeddings"], start["head.label_embeddings"])
