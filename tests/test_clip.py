from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

pytest.importorskip("open_clip")

from tiny_clip import tiny_clip, tiny_config, write_config, write_weights

from hlcli.clip import ClipTowers, build_clip, towers_of
from hlcli.errors import RecipeError

TEXTS = ["a photo of a cat.", "dog", "two birds on a wire, at dusk"]


def tokenizer(texts: list[str]) -> Tensor:
    import open_clip

    return open_clip.tokenize(texts, context_length=17)


def towers(kind: str = "vit", **text: Any) -> tuple[ClipTowers, Any]:
    """Towers in float64, and the open_clip model of the same weights, untouched."""
    made = towers_of(tiny_clip(kind, **text).double(), tokenizer=tokenizer, name="tiny")
    return made.eval(), tiny_clip(kind, **text).double()


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_image_features_and_their_gradients_are_open_clips(kind: str):
    made, expected = towers(kind)
    size = 64 if kind == "resnet" else 32
    images = torch.randn(3, 3, size, size, dtype=torch.float64)
    features, reference = made.visual(images), expected.encode_image(images)
    assert features.dtype == torch.float64
    assert_close(features, reference, rtol=1e-12, atol=1e-12)
    (features**2).sum().backward()
    (reference**2).sum().backward()
    theirs = dict(expected.visual.named_parameters())
    scale = max(float(parameter.grad.abs().max()) for parameter in theirs.values())
    for name, parameter in made.visual.named_parameters():
        assert_close(parameter.grad, theirs[name].grad, rtol=1e-12, atol=1e-12 * scale, msg=name)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_text_features_are_open_clips(kind: str):
    made, expected = towers(kind)
    tokens = made.tokenize(TEXTS)
    assert tokens.shape == (3, 16)
    features = made.encode_text(tokens)
    assert features.dtype == torch.float64
    assert_close(features, expected.encode_text(tokens), rtol=1e-12, atol=1e-12)
    assert (made.context_length, made.text_width, made.embed_dim) == (16, 16, 8)


def test_a_separate_text_tower_gives_the_same():
    import open_clip

    torch.manual_seed(1)
    model = open_clip.CustomTextCLIP(**tiny_config("vit")).double().eval()
    expected = model.encode_text(tokenizer(TEXTS)[:, :16])
    made = towers_of(model, tokenizer=tokenizer)
    assert_close(made.encode_text(made.tokenize(TEXTS)), expected, rtol=1e-12, atol=1e-12)


def test_prompts_cut_after_the_longest_text_change_neither_features_nor_gradients():
    made, _ = towers()
    tokens = made.tokenize(TEXTS)
    ends = tokens.argmax(dim=-1)
    length = int(ends.max()) + 1
    assert length < 16
    whole = made.token_embedding(tokens).detach().requires_grad_()
    cut = whole.detach()[:, :length].clone().requires_grad_()
    features = made.text(whole, ends), made.text(cut, ends)
    assert_close(features[1], features[0], rtol=1e-12, atol=1e-12)
    for values in features:
        (values**2).sum().backward()
    assert whole.grad is not None
    assert_close(cut.grad, whole.grad[:, :length], rtol=1e-12, atol=1e-12)
    assert (whole.grad[:, length:] == 0).all()


def test_parameters_keep_the_published_names():
    made, model = towers("resnet")
    own = set(made.state_dict())
    renamed = {
        name if name.startswith(("visual.", "token_embedding.", "logit_scale")) else f"text.{name}"
        for name in model.state_dict()
    }
    assert own == renamed


def test_texts_are_tokenised_as_published_and_too_long_ones_named():
    made, _ = towers()
    assert made.tokenize(["a photo of a person."])[0, :9].tolist() == [
        49406, 320, 1125, 539, 320, 2533, 269, 49407, 0,
    ]  # fmt: skip
    assert made.tokenize(["x " * 14])[0, -1] == 49407
    with pytest.raises(RecipeError, match=r"tiny reads texts of 16 tokens at most.*'x x"):
        made.tokenize(["cat", "x " * 15])


def test_a_model_of_fewer_tokens_is_told_before_it_fails():
    made, _ = towers("vit", vocab_size=100)
    with pytest.raises(RecipeError, match="tiny knows 100 tokens, and its texts need 49408"):
        made.tokenize(["cat"])


@pytest.mark.parametrize("text", [{"no_causal_mask": True}, {"pool_type": "last"}, {"proj_bias": True}])
def test_other_text_towers_are_refused_with_models_that_fit(text: dict[str, Any]):
    with pytest.raises(RecipeError, match="text tower of tiny cannot be used") as caught:
        towers("vit", **text)
    assert "RN50-quickgelu" in str(caught.value.hint)


def test_a_configuration_file_makes_a_model_of_ones_own(tmp_path: Path):
    name = f"clip:{write_config(tmp_path)}"
    made = build_clip(name, (32, 48))
    assert made.name == name
    assert made.visual(torch.zeros(2, 3, 32, 48)).shape == (2, 8)
    assert made.encode_text(made.tokenize(TEXTS)).shape == (3, 8)


@pytest.mark.parametrize(("kind", "size"), [("resnet", (64, 64)), ("vit", (32, 32))])
def test_local_weights_are_loaded(tmp_path: Path, kind: str, size: tuple[int, int]):
    weights = write_weights(tmp_path, kind)
    made = build_clip(f"clip:{write_config(tmp_path, kind)}", size, weights=weights).eval()
    expected, images = tiny_clip(kind), torch.randn(2, 3, *size)
    assert_close(made.visual(images), expected.encode_image(images), rtol=1e-4, atol=1e-5)
    tokens = made.tokenize(TEXTS)
    assert_close(made.encode_text(tokens), expected.encode_text(tokens), rtol=1e-4, atol=1e-5)


def test_positions_of_a_vit_are_resized_as_open_clip_does(tmp_path: Path):
    from open_clip.model import resize_pos_embed

    weights, config = write_weights(tmp_path), write_config(tmp_path)
    made = build_clip(f"clip:{config}", (48, 64), weights=weights)
    state = torch.load(weights, weights_only=True)
    resize_pos_embed(state, made)
    assert made.visual.positional_embedding.shape == (1 + 6 * 8, 16)
    assert_close(made.visual.positional_embedding.detach(), state["visual.positional_embedding"])


def test_positions_of_a_resnet_are_resized_and_the_model_runs(tmp_path: Path):
    weights, config = write_weights(tmp_path, "resnet"), write_config(tmp_path, "resnet")
    made = build_clip(f"clip:{config}", (96, 64), weights=weights)
    pool = made.visual.attnpool
    assert pool.positional_embedding.shape == (1 + 3 * 2, 128)
    assert_close(pool.positional_embedding[0], tiny_clip("resnet").visual.attnpool.positional_embedding[0])
    assert made.visual(torch.randn(2, 3, 96, 64)).isfinite().all()


@pytest.mark.parametrize(("kind", "step"), [("resnet", 32), ("vit", 8)])
def test_sizes_that_would_be_cut_are_refused(tmp_path: Path, kind: str, step: int):
    with pytest.raises(RecipeError, match=f"sides must be multiples of {step}"):
        build_clip(f"clip:{write_config(tmp_path, kind)}", (65, 64))


def test_frozen_parts_of_the_image_tower_are_not_trained(tmp_path: Path):
    name = f"clip:{write_config(tmp_path, 'resnet')}"
    made = build_clip(name, (64, 64), frozen=("layer1", "conv1"))
    frozen = {key for key, parameter in made.named_parameters() if not parameter.requires_grad}
    assert {"visual.conv1.weight", "visual.layer1.0.conv1.weight"} <= frozen
    assert all(key.startswith(("visual.conv1.", "visual.layer1.")) for key in frozen)
    with pytest.raises(
        RecipeError, match=r"image tower of clip:.* has no parameter named layer9… \(it has conv1.*attnpool\)"
    ):
        build_clip(name, (64, 64), frozen=("layer9",))


def test_a_whole_model_can_be_planned_without_memory():
    with torch.device("meta"):
        made = build_clip("clip:RN50", (224, 224))
        features = made.visual(torch.zeros(2, 3, 224, 224))
        texts = made.encode_text(made.tokenize(TEXTS))
    assert features.shape == (2, 1024)
    assert texts.shape == (3, 1024)
    assert sum(p.numel() for p in made.visual.parameters()) == 38_316_896
    assert sum(p.numel() for p in made.text.parameters()) == 38_393_344
