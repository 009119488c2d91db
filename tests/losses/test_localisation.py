"""Localisation loss: Grad-CAM by hand and by autograd, the regulariser by loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hlcli.losses.localisation import fit_masks, grad_cam, localisation_loss, normalise_maps, score_gradients

OBJECT, CONTEXT = (0, 3), (2,)


def example(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(2, 3, 2, 3, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 1, 2, 3, generator=generator, dtype=torch.float64)
    targets = torch.tensor([[1.0, 0, 2 / 3, 1 / 3], [0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    return maps, mask, targets


@pytest.mark.parametrize("threshold", [1 / 3, None])
def test_equals_the_sum_written_as_loops(threshold: float | None) -> None:
    maps, mask, targets = example()
    expected = 0.0
    counted = targets if threshold is None else (targets > threshold).double()
    for image in range(2):
        for place, label in enumerate(OBJECT):
            expected += (counted[image, label] * (maps[image, place] * (1 - mask[image, 0])).sum() / 2).item()
        for place, label in enumerate(CONTEXT, start=2):
            expected += (counted[image, label] * (maps[image, place] * mask[image, 0]).sum()).item()
    expected *= 0.1 / counted.sum().item()
    loss = localisation_loss(maps, mask, targets, OBJECT, CONTEXT, target_threshold=threshold)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_a_batch_without_positives_costs_nothing() -> None:
    maps, mask, targets = example()
    assert localisation_loss(maps, mask, 0 * targets, OBJECT, CONTEXT).item() == 0


def test_one_kind_of_labels_is_enough() -> None:
    maps, mask, targets = example()
    loss = localisation_loss(maps[:, :2], mask, targets, OBJECT, ())
    assert 0 < loss < localisation_loss(maps, mask, targets, OBJECT, CONTEXT)


def test_map_threshold_counts_cells() -> None:
    maps, mask, targets = example()
    cut = localisation_loss(maps, mask, targets, OBJECT, CONTEXT, map_threshold=0.5)
    assert cut == localisation_loss((maps > 0.5).double(), mask, targets, OBJECT, CONTEXT)


def test_finer_masks_are_averaged_onto_the_grid() -> None:
    maps, mask, targets = example()
    fine = mask.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    expected = localisation_loss(maps, mask, targets, OBJECT, CONTEXT)
    torch.testing.assert_close(localisation_loss(maps, fine, targets, OBJECT, CONTEXT), expected)


def test_coarser_masks_are_filled_bilinearly_and_each_side_on_its_own() -> None:
    mask = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])
    torch.testing.assert_close(fit_masks(mask, (2, 4))[0, 0], torch.tensor([[0, 0.25, 0.75, 1], [1, 1, 1, 1]]))
    torch.testing.assert_close(fit_masks(mask, (1, 4))[0, 0], torch.tensor([[0.5, 0.625, 0.875, 1]]))
    assert fit_masks(mask, (2, 2)) is mask


@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (3, 5), (4, 12)])
def test_fitted_masks_stay_shares_and_whole_objects_stay_whole(grid: tuple[int, int]) -> None:
    mask = torch.rand(2, 1, 7, 7, generator=torch.Generator().manual_seed(0))
    fitted = fit_masks(mask, grid)
    assert fitted.shape == (2, 1, *grid)
    assert 0 <= fitted.min() <= fitted.max() <= 1
    torch.testing.assert_close(fit_masks(torch.ones(1, 1, 7, 7), grid), torch.ones(1, 1, *grid))


def test_normalised_maps_start_at_zero_and_end_just_below_one() -> None:
    maps = normalise_maps(torch.tensor([[[2.0, 4.0], [3.0, 6.0]], [[5.0, 5.0], [5.0, 5.0]]]))
    torch.testing.assert_close(maps[0], torch.tensor([[0.0, 0.5], [0.25, 1.0]]))
    assert not maps[1].any()


def test_grad_cam_of_a_linear_readout_is_its_weighted_sum() -> None:
    """With logits = mean over cells of W f, the gradient is W / N everywhere."""
    torch.manual_seed(0)
    features = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)  # [B, N, C]
    readout = nn.Linear(4, 5).double()
    logits = readout(features).mean(dim=1)
    gradients = score_gradients(logits, features, (1, 4), differentiable=False)
    expected = readout.weight[[1, 4]][None, :, None].expand(2, -1, 6, -1) / 6 / 2
    torch.testing.assert_close(gradients, expected.detach())
    maps = grad_cam(features.transpose(1, 2).unflatten(-1, (2, 3)), gradients.transpose(-1, -2).unflatten(-1, (2, 3)))
    by_hand = (features @ readout.weight[[1, 4]].T / 12).relu().transpose(1, 2).unflatten(-1, (2, 3))
    torch.testing.assert_close(maps, by_hand)


def test_only_a_differentiable_gradient_can_be_trained() -> None:
    features = torch.randn(2, 6, 4, requires_grad=True)
    weight = nn.Parameter(torch.randn(4, 5))
    logits = (features @ weight).tanh().mean(dim=1)
    assert score_gradients(logits, features, (0,), differentiable=True).requires_grad
    assert not score_gradients(logits, features, (0,), differentiable=False).requires_grad
