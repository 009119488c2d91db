"""Asymmetric loss and binary cross entropy."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from hlcli.losses.asymmetric import AsymmetricLoss
from hlcli.losses.bce import BceLoss
from hlcli.losses.config import Asymmetric, Bce

LOGITS = torch.tensor([[0.0, math.log(3), -math.log(3)], [math.log(3), 0.0, -math.log(3)]], dtype=torch.float64)
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)


def test_hand_computed_case() -> None:
    """sigmoid of 0, ln 3, -ln 3 is 1/2, 3/4, 1/4."""
    loss = AsymmetricLoss(gamma_pos=1, gamma_neg=2, clip=0.05, eps=1e-5)(LOGITS, TARGETS)
    ln = math.log
    expected = [
        [-0.5 * ln(0.5), -(0.7**2) * ln(0.3), -0.75 * ln(0.25)],
        [-0.25 * ln(0.75), -(0.45**2) * ln(0.55), -(0.2**2) * ln(0.8)],
    ]
    torch.testing.assert_close(loss, torch.tensor(expected, dtype=torch.float64))


def test_without_focus_and_clip_it_is_binary_cross_entropy() -> None:
    expected = F.binary_cross_entropy_with_logits(LOGITS, TARGETS, reduction="none")
    torch.testing.assert_close(AsymmetricLoss(gamma_neg=0)(LOGITS, TARGETS), expected)
    torch.testing.assert_close(BceLoss()(LOGITS, TARGETS), expected)


@pytest.mark.parametrize(("gamma_pos", "gamma_neg", "clip"), [(0, 2, 0), (1, 4, 0.05), (0.5, 0, 0.1)])
def test_differentiated_focus_passes_gradcheck(gamma_pos: float, gamma_neg: float, clip: float) -> None:
    loss = AsymmetricLoss(gamma_pos, gamma_neg, clip, detach_focus=False)
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, TARGETS), logits)


def test_detached_focus_is_a_constant_factor_of_the_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    AsymmetricLoss(gamma_pos=1, gamma_neg=2, eps=1e-8)(logits, TARGETS).sum().backward()
    probability = LOGITS.sigmoid()
    cross_entropy = probability - TARGETS
    focus = (1 - probability) * TARGETS + probability**2 * (1 - TARGETS)
    torch.testing.assert_close(logits.grad, focus * cross_entropy)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("is_detached", [True, False])
def test_extreme_logits_give_finite_losses_and_gradients(dtype: torch.dtype, is_detached: bool) -> None:
    logits = torch.tensor([[-100.0, 100.0, -100.0, 100.0]], dtype=dtype, requires_grad=True)
    targets = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    loss = AsymmetricLoss(detach_focus=is_detached)(logits, targets)
    loss.sum().backward()
    assert loss.dtype in (torch.float32, torch.float64)
    assert loss.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(loss[0, :2].float(), torch.full((2,), -math.log(1e-5)), rtol=1e-3, atol=0)
    torch.testing.assert_close(loss[0, 2:].float(), torch.zeros(2), rtol=0, atol=1e-6)


def test_loss_is_not_reduced_and_rows_do_not_meet() -> None:
    logits, targets = torch.randn(3, 4), (torch.rand(3, 4) < 0.5).float()
    for loss in (AsymmetricLoss(), BceLoss()):
        whole = loss(logits, targets, epoch=3)
        assert whole.shape == (3, 4)
        assert (whole >= 0).all()
        torch.testing.assert_close(whole[1:2], loss(logits[1:2], targets[1:2]))


def test_sections_build_what_they_say() -> None:
    loss = Asymmetric(gamma_pos=0.5, gamma_neg=3, clip=0.1, eps=1e-4, detach_focus=False).build()
    assert isinstance(loss, AsymmetricLoss)
    assert (loss.gamma_pos, loss.gamma_neg, loss.clip, loss.eps, loss.detach_focus) == (0.5, 3, 0.1, 1e-4, False)
    assert isinstance(Bce().build(), BceLoss)
