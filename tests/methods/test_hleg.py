"""HLEG's network: against a plain second implementation, and what every model must do."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from hlcli.errors import RecipeError
from hlcli.layers import attention
from hlcli.losses.asymmetric import AsymmetricLoss
from hlcli.methods.hleg.config import Hleg
from hlcli.methods.hleg.convert import from_reference

from .hleg_parts import COARSE, MIDDLE, SMALL, TinyBackbone, batch_of, make, tree


def plain() -> Any:
    """The plain implementation that the benchmark measures against."""
    path = Path(__file__).parents[2] / "benchmarks" / "plain_hleg.py"
    spec = importlib.util.spec_from_file_location("plain_hleg", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize(("encoder_layers", "channels"), [(0, 16), (2, 10)])
@pytest.mark.parametrize("options", [(0, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (1, 0, 0)])
def test_equals_the_plain_implementation(
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[int, int, int],
    encoder_layers: int,
    channels: int,
    is_folded: bool,
) -> None:
    monkeypatch.setattr(attention, "folding_pays", lambda *_: is_folded)
    torch.manual_seed(0)
    pre_norm, keep_first, keep_other = map(bool, options)
    grid, shape = (3, 5), {"dim": 16, "heads": 2, "hidden": 24}
    other = plain()
    theirs = other.PlainHead(
        MIDDLE, COARSE, channels=channels, grid=grid, encoder_layers=encoder_layers, options=options, **shape
    ).double()
    section = Hleg(
        **SMALL,
        encoder_layers=encoder_layers,
        pre_norm=pre_norm,
        keep_first_self_attention=keep_first,
        keep_other_self_attention=keep_other,
    )
    ours = section.build_head(tree(), num_features=channels, grid=grid).double()
    state = from_reference(theirs.state_dict())
    ours.load_state_dict({name.removeprefix("head."): value for name, value in state.items()})
    feature_map = torch.randn(3, channels, *grid, dtype=torch.float64)
    targets = (torch.rand(3, 7) < 0.4).double()

    logits = theirs(feature_map)
    other.plain_objective(theirs, logits, targets).backward()
    level_logits = ours(feature_map.flatten(2).transpose(1, 2)).level_logits
    criterion = AsymmetricLoss()
    losses = [criterion(x, y).sum(1) for x, y in zip(level_logits, ours.hierarchy.lift(targets), strict=True)]
    (torch.stack(losses).amax(dim=0).mean() + 0.1 * losses[-1].mean()).backward()

    for actual, expected in zip(level_logits, reversed(logits), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
    grads = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    for name, gradient in from_reference(grads).items():
        torch.testing.assert_close(ours.get_parameter(name.removeprefix("head.")).grad, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("grid", [(1, 5), (3, 2)])
def test_scores_every_level_of_any_tree_on_any_grid(depth: int, grid: tuple[int, int]) -> None:
    _, model = make(depth, backbone=TinyBackbone(grid, num_features=10))
    output = model(batch_of(2, grid).images)
    assert [tuple(logits.shape) for logits in output.level_logits] == [(2, k) for k in tree(depth).level_sizes]
    assert output.logits is output.level_logits[-1]
    assert output.label_maps is None


def test_images_do_not_meet_in_eval_mode() -> None:
    _, model = make()
    model.double().eval()
    images = batch_of(5).images.double()
    whole = model(images)
    torch.testing.assert_close(model(images), whole, rtol=0, atol=0)
    for image in range(5):
        alone = model(images[image : image + 1])
        for single, together in zip(alone.level_logits, whole.level_logits, strict=True):
            torch.testing.assert_close(single[0], together[image], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("keeps", [False, True])
def test_every_trainable_parameter_gets_a_gradient_and_no_other(keeps: bool) -> None:
    section, model = make(keep_first_self_attention=keeps, keep_other_self_attention=keeps, level_loss="sum")
    model.backbone.model.bias.requires_grad_(False)
    sum(section.training_losses(model, batch_of(), AsymmetricLoss(), epoch=0).values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None and bool(parameter.grad.any())) == parameter.requires_grad, name


def test_hardest_level_alone_gets_the_gradient() -> None:
    section, model = make(alpha_fine=0)
    with torch.no_grad():
        model.head.classifier.offset.fill_(-9.0)
        model.head.classifier.offset[:, :7] = 0  # fine labels are easy, the levels above are all missed
    sum(section.training_losses(model, batch_of(), AsymmetricLoss(), epoch=0).values()).backward()
    assert not model.head.classifier.weight.grad[:7].any()
    assert model.head.classifier.weight.grad[7:].any()


def test_twenty_steps_drive_the_loss_down() -> None:
    section, model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    batch, losses = batch_of(8), []
    for _ in range(20):
        loss = sum(section.training_losses(model, batch, AsymmetricLoss(), epoch=0).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_attention_maps_are_distributions_over_the_grid_for_every_level() -> None:
    _, model = make()
    images = batch_of().images
    output, maps = model.eval().attention_maps(images)
    torch.testing.assert_close(output.logits, model(images).logits)
    for level_maps, size in zip(maps, tree().level_sizes, strict=True):
        assert level_maps.shape == (4, size, 6)
        torch.testing.assert_close(level_maps.sum(dim=-1), torch.ones(4, size))
    fine, middle = maps[-1], maps[-2]
    assert not torch.allclose(fine[:, :4], middle)


def test_another_image_size_is_explained() -> None:
    _, model = make()
    with pytest.raises(ValueError, match=r"Expected 6 tokens \(0 \+ 2 x 3\), but got 12"):
        model(torch.zeros(1, 3, 16, 48))


def test_first_weights_follow_the_published_rules() -> None:
    torch.manual_seed(0)
    head = Hleg(hidden_dim=64, feedforward_dim=96).build_head(tree(), num_features=64, grid=(7, 7))
    fine, middle, coarse = head.token_projection.weight.split(head.sizes)
    assert 0.13 < fine.abs().max() <= 1 / 7  # default of a linear layer over 49 tokens
    assert 0.3 < middle.abs().max() <= (6 / (49 + 4)) ** 0.5
    assert 0.3 < coarse.abs().max() <= (6 / (49 + 2)) ** 0.5
    layer = head.decoder[0]
    assert 0.14 < layer.cross_attention.in_proj_weight.abs().max() <= (6 / (192 + 64)) ** 0.5
    assert 0.18 < layer.feed_forward.expand.weight.abs().max() <= (6 / (96 + 64)) ** 0.5
    assert not layer.cross_attention.in_proj_bias.any()
    assert 0.8 < head.fine_queries.std() < 1.2


def test_the_position_code_is_saved_with_the_weights() -> None:
    _, model = make()
    assert model.state_dict()["head.position"].shape == (6, 16)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_dim": 18}, "hidden_dim must be a multiple of 4"),
        ({"num_heads": 3}, "hidden_dim must be a multiple of num_heads"),
        ({"localisation_weight": 0.1, "localisation_map_threshold": 0.5}, "leaves no gradient"),
    ],
)
def test_impossible_numbers_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Hleg(**{**SMALL, **fields})


def test_widths_that_differ_need_a_projection() -> None:
    backbone = TinyBackbone(num_features=10)
    assert isinstance(make(backbone=backbone)[1].head.input_projection, nn.Linear)
    assert isinstance(make()[1].head.input_projection, nn.Identity)
    assert isinstance(make(input_projection=True)[1].head.input_projection, nn.Linear)
    with pytest.raises(RecipeError, match=r"the backbone gives 10 features.*Set model\.hidden_dim=10"):
        make(backbone=backbone, input_projection=False)


def test_mixed_precision_scores_are_close_for_all_options() -> None:
    for keeps, pre_norm in itertools.product((False, True), repeat=2):
        _, model = make(keep_first_self_attention=keeps, pre_norm=pre_norm)
        model.eval()
        images = batch_of().images
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = model(images).logits
        torch.testing.assert_close(rough.float(), model(images).logits, rtol=0.1, atol=0.1)
