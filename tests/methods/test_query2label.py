"""Query2Label: against a plain implementation by the published names, and what every method must do."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from tiny import TINY
from torch import Tensor, nn

import hlcli
from hlcli.data.labels import LabelSpace
from hlcli.errors import CheckpointError, RecipeError
from hlcli.layers.position import sine_position
from hlcli.losses.config import Asymmetric
from hlcli.methods.query2label.config import Query2Label
from hlcli.recipe import Recipe

from .hleg_parts import SMALL, TinyBackbone, batch_of
from .plain_query2label import PlainQuery2Label

LABELS = LabelSpace.flat("abcdefg")


def make(*, backbone: nn.Module | None = None, **fields: Any) -> tuple[Query2Label, Any]:
    """Section and network."""
    torch.manual_seed(0)
    section = Query2Label(**{**SMALL, **fields})
    return section, section.build(backbone or TinyBackbone(), LABELS)  # type: ignore[arg-type]


def exported(section: Query2Label, model: nn.Module) -> dict[str, Tensor]:
    return section.to_upstream(model.state_dict(), model)


SHAPES = [
    {"encoder_layers": encoder, "decoder_layers": decoder, "self_attention": attends}
    for encoder, decoder, attends in itertools.product((0, 1), (1, 2), (False, True))
]


@pytest.mark.parametrize("fields", SHAPES, ids=str)
@pytest.mark.parametrize("num_features", [16, 10])
def test_logits_are_those_of_a_plain_network_with_the_exported_weights(fields: Any, num_features: int) -> None:
    section, model = make(backbone=TinyBackbone(num_features=num_features), **fields)
    model.double().eval()
    nn.init.normal_(model.classifier.offset)
    sizes = (section.hidden_dim, section.num_heads, section.feedforward_dim)
    position = sine_position(2, 3, 16).double().T.unflatten(-1, (2, 3))
    plain = PlainQuery2Label(sizes, num_features, 7, position, **fields).double()
    state = {key: value for key, value in exported(section, model).items() if not key.startswith("backbone.")}
    plain.load_state_dict(state)
    images = batch_of().images.double()
    feature_map = model.backbone(images).transpose(1, 2).unflatten(-1, (2, 3))
    torch.testing.assert_close(model(images).logits, plain(feature_map), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("fields", SHAPES[-2:], ids=str)
def test_published_weights_come_back_as_they_went(fields: Any) -> None:
    section, model = make(backbone=TinyBackbone(num_features=10), **fields)
    theirs = {f"module.{name}": value for name, value in exported(section, model).items()}
    assert theirs["module.backbone.1.pe"].shape == (1, 16, 2, 3)
    torch.manual_seed(1)
    other = section.build(TinyBackbone(num_features=10), LABELS)  # type: ignore[arg-type]
    other.load_state_dict(section.from_upstream(theirs, other))
    images = batch_of().images
    torch.testing.assert_close(other(images).logits, model(images).logits, rtol=0, atol=0)
    del theirs["module.backbone.1.pe"]
    assert set(section.from_upstream(theirs, other)) == set(other.state_dict())
    with pytest.raises(CheckpointError, match="does not belong to a checkpoint of Query2Label: neck"):
        section.from_upstream({**theirs, "neck.weight": torch.ones(1)}, other)


@pytest.mark.parametrize("grid", [(2, 3), (5, 1)])
def test_every_weight_learns_and_images_do_not_see_each_other(grid: tuple[int, int]) -> None:
    section, model = make(backbone=TinyBackbone(grid))
    batch = batch_of(grid=grid)
    terms = section.training_losses(model, batch, Asymmetric().build(), epoch=0)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []
    model.eval()
    together, alone = model(batch.images).logits, model(batch.images[1:2]).logits
    assert together.shape == (4, 7)
    torch.testing.assert_close(together[1:2], alone)


def test_the_loss_is_the_mean_of_images_summed_over_labels() -> None:
    section, model = make(loss_scale=3.0)
    model.eval()
    batch = batch_of()
    criterion = Asymmetric().build()
    (term,) = section.training_losses(model, batch, criterion, epoch=0).values()
    torch.testing.assert_close(term, 3 * criterion(model(batch.images).logits, batch.targets).sum() / 4)


def test_maps_say_where_a_label_finds_what_it_is_scored_by() -> None:
    section, model = make()
    model.eval()
    images = batch_of().images
    found = section.level_maps(model, images)
    (logits,), (maps,) = found.level_logits, found.attention_maps
    torch.testing.assert_close(logits, model(images).logits)
    assert maps.shape == (4, 7, 2, 3)
    torch.testing.assert_close(maps.sum(dim=(-1, -2)), torch.ones(4, 7))


def test_a_class_token_has_no_place_and_no_part_in_maps() -> None:
    class WithClassToken(TinyBackbone):
        def forward(self, images: Tensor) -> Tensor:
            grid = super().forward(images)
            return torch.cat((grid.mean(dim=1, keepdim=True), grid), dim=1)

    backbone = WithClassToken()
    backbone.class_tokens = 1
    section, model = make(backbone=backbone)
    model.eval()
    assert model.position.shape == (7, 16)
    assert not model.position[0].any()
    images = batch_of().images
    _, maps = model._decode(images, need_maps=True)  # [B, L, 1 + N]
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(4, 7))
    expected = maps[..., 1:].unflatten(-1, (2, 3))
    torch.testing.assert_close(section.level_maps(model, images).attention_maps[0], expected)
    theirs = exported(section, model)
    assert theirs["backbone.1.pe"].shape == (1, 16, 2, 3)
    returned = section.from_upstream(theirs, model)
    assert returned.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in returned.items())


def test_images_of_another_size_are_refused() -> None:
    _, model = make()
    with pytest.raises(ValueError, match=r"Expected 6 tokens \(0 \+ 2 x 3\), but got 9; .* another image size"):
        model(torch.zeros(1, 3, 24, 24))


def test_widths_that_do_not_fit_are_named() -> None:
    tree = {"data": {"dataset": "shapes"}, "model": {"method": "query2label", "hidden_dim": 20, "num_heads": 8}}
    with pytest.raises(RecipeError, match=r"hidden_dim must be a multiple of num_heads \(got 20 and 8\)"):
        Recipe.from_dict(tree)


def test_twenty_steps_on_one_batch_drive_the_loss_down() -> None:
    section, model = make()
    batch, criterion = batch_of(), Asymmetric().build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(20):
        (loss,) = section.training_losses(model, batch, criterion, epoch=0).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


def test_it_trains_is_measured_and_shown(tmp_path) -> None:
    model = {"method": "query2label", "hidden_dim": 16, "feedforward_dim": 16, "num_heads": 2}
    run = hlcli.train(Recipe.from_dict({**TINY, "model": model}), tmp_path / "run")
    metrics = hlcli.evaluate(run.folder, split="test").metrics
    assert {"mAP", "coarse/mAP", "middle/mAP"} <= set(metrics)
    drawn = hlcli.visualize("attention", run.folder, split="test", out=tmp_path / "figures")
    assert drawn.files
    assert all(path.stat().st_size > 0 for path in drawn.files)
