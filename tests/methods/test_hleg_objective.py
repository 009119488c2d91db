"""HLEG's objective: the choice of levels, ignored labels, and the localisation loss."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hlcli.errors import DataError, RecipeError
from hlcli.losses.asymmetric import AsymmetricLoss
from hlcli.losses.bce import BceLoss
from hlcli.methods.hleg.objective import combine_levels, per_level

from .hleg_parts import TinyBackbone, batch_of, make, tree

COARSE, MIDDLE, FINE = torch.tensor([1.0, 5.0]), torch.tensor([2.0, 1.0]), torch.tensor([3.0, 2.0])


@pytest.mark.parametrize(
    ("level_loss", "expected"),
    [("hard_first_sample", (3 + 5) / 2), ("hard_first_batch", (1 + 5) / 2), ("sum", (6 + 8) / 2)],
)
def test_levels_are_combined_as_named(level_loss: str, expected: float) -> None:
    assert combine_levels((COARSE, MIDDLE, FINE), level_loss).item() == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("level_loss", ["hard_first_sample", "hard_first_batch"])
def test_of_equal_levels_the_finer_one_is_trained(level_loss: str) -> None:
    levels = [torch.ones(2, requires_grad=True) for _ in range(3)]
    combine_levels(levels, level_loss).backward()  # type: ignore[arg-type]
    assert levels[0].grad is not None
    assert not levels[0].grad.any()
    assert not levels[1].grad.any()
    assert levels[2].grad.tolist() == [0.5, 0.5]


def test_terms_are_weighted_and_scaled() -> None:
    section, model = make(alpha_fine=0.25, loss_scale=3.0)
    batch, criterion = batch_of(), AsymmetricLoss()
    terms = section.training_losses(model, batch, criterion, epoch=0)
    losses = per_level(model(batch.images).level_logits, model.head.hierarchy.lift(batch.targets), criterion)
    torch.testing.assert_close(terms["hard_first"], 3 * combine_levels(losses, "hard_first_sample"))
    torch.testing.assert_close(terms["fine"], 3 * 0.25 * losses[-1].mean())
    assert set(terms) == {"hard_first", "fine"}


def test_an_ignored_label_costs_nothing_and_turns_no_parent_on() -> None:
    section, model = make(level_loss="sum")
    batch = batch_of()
    ignore = torch.zeros_like(batch.targets, dtype=torch.bool)
    ignore[:, 5] = True  # the only child of middle group 3

    def total(value: float) -> Tensor:
        targets = batch.targets.clone()
        targets[:, 5] = value
        return sum(
            section.training_losses(model, batch._replace(targets=targets, ignore=ignore), BceLoss(), epoch=0).values()
        )

    assert total(0).item() == total(1).item()
    total(1).backward()
    assert not model.head.classifier.weight.grad[5].any()
    assert model.head.classifier.weight.grad[6].any()


def test_epoch_reaches_the_criterion() -> None:
    section, model = make()
    seen = []

    def criterion(logits: Tensor, targets: Tensor, *, epoch: int = 0, **_: object) -> Tensor:
        seen.append(epoch)
        return BceLoss()(logits, targets)

    section.training_losses(model, batch_of(), criterion, epoch=7)
    assert seen == [7, 7, 7]


def test_works_through_a_wrapper_that_only_runs_forward() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, images: Tensor, need_label_maps: bool = False) -> SimpleNamespace:
            output = self.module(images, need_label_maps=need_label_maps)
            copies = [part.clone() for part in output.level_logits]
            return SimpleNamespace(logits=copies[-1], level_logits=copies, label_maps=output.label_maps.clone())

    section, model = make(localisation_weight=0.1)
    bare = section.training_losses(model, batch_of(), BceLoss(), epoch=0)
    wrapped = section.training_losses(Wrapper(model), batch_of(), BceLoss(), epoch=0)
    torch.testing.assert_close(wrapped, bare)


def localisation(**fields: object) -> tuple[nn.Module, Tensor]:
    section, model = make(localisation_weight=0.1, **fields)
    return model, section.training_losses(model, batch_of(), BceLoss(), epoch=0)["localisation"]


def test_differentiable_localisation_trains_head_and_backbone() -> None:
    model, loss = localisation()
    assert loss > 0
    loss.backward()
    for name in ("backbone.model.weight", "head.token_projection.weight", "head.encoder.layers.0.self_norm.weight"):
        gradient = model.get_parameter(name).grad
        assert gradient is not None
        assert gradient.isfinite().all()
        assert gradient.any(), name


def test_gradient_of_the_localisation_loss_is_right() -> None:
    """Against finite differences along one direction, in double precision."""
    section, model = make(localisation_weight=0.1)
    model.double()
    batch = batch_of()
    batch = batch._replace(
        images=batch.images.double(), targets=batch.targets.double(), object_masks=batch.object_masks.double()
    )
    weight = model.head.decoder[0].cross_attention.in_proj_weight
    direction = torch.randn_like(weight)

    def loss() -> Tensor:
        return section.training_losses(model, batch, BceLoss(), epoch=0)["localisation"]

    loss().backward()
    slope = (weight.grad * direction).sum().item()
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * 1e-6)
        values.append(loss().item())
        with torch.no_grad():
            weight.add_(direction, alpha=-sign * 1e-6)
    assert slope == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_published_localisation_has_the_same_value_and_trains_nothing() -> None:
    _, trained = localisation()
    model, constant = localisation(localisation_differentiable=False)
    torch.testing.assert_close(constant, trained.detach())
    assert not constant.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


def test_localisation_works_with_a_frozen_backbone_and_in_half_precision() -> None:
    backbone = TinyBackbone().requires_grad_(False)
    section, model = make(backbone=backbone, localisation_weight=0.1)
    exact = section.training_losses(model, batch_of(), BceLoss(), epoch=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = section.training_losses(model, batch_of(), BceLoss(), epoch=0)
    sum(rough.values()).backward()
    assert model.head.fine_queries.grad.isfinite().all()
    torch.testing.assert_close(rough["localisation"].float(), exact["localisation"], rtol=0.2, atol=1e-3)


def test_localisation_needs_masks_and_subsets() -> None:
    section, model = make(localisation_weight=0.1)
    with pytest.raises(DataError, match="no object masks"):
        section.training_losses(model, batch_of()._replace(object_masks=None), BceLoss(), epoch=0)
    bare = type(tree())(tree().levels)
    with pytest.raises(RecipeError, match="names no labels in the subsets `object` or `context`"):
        section.build(TinyBackbone(), bare)  # type: ignore[arg-type]
