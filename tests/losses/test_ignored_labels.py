"""Losses that look at a whole batch leave entries out that do not count: `ignore`."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hlcli.losses.bce import BceLoss
from hlcli.losses.expected_positives import EprLoss, RoleLoss
from hlcli.losses.large_loss import LargeLossCorrection, LargeLossRejection, PermanentLargeLossCorrection
from hlcli.losses.masking import label_losses

IMAGES, LABELS, SHARE = 4, 5, 0.25
ROWS = torch.tensor([2, 0, 3, 1])


def large_loss(name: str) -> nn.Module:
    """A loss that takes a quarter of the zeros for missed positives in epoch 1."""
    if name == "ll_cp":
        return PermanentLargeLossCorrection(IMAGES, LABELS, SHARE)
    return {"ll_r": LargeLossRejection, "ll_ct": LargeLossCorrection}[name](SHARE)


def scene(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [4, 5], targets, and which entries are ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(IMAGES, LABELS, generator=generator, dtype=torch.float64)
    targets, ignore = (torch.rand(IMAGES, LABELS, generator=generator) < share for share in (0.3, 0.4))
    return logits, targets.double(), ignore


@pytest.mark.parametrize("name", ["ll_r", "ll_ct", "ll_cp"])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_ignored_zeros_are_neither_chosen_nor_counted(name: str, seed: int) -> None:
    """However large their losses are."""
    logits, targets, ignore = scene(seed)
    logits = torch.where(ignore, logits + 50, logits)
    plain = BceLoss()(logits, targets)
    changed = (large_loss(name)(logits, targets, epoch=1, rows=ROWS, ignore=ignore) != plain) & ~ignore
    candidates = (targets == 0) & ~ignore
    count = -(-int(candidates.sum()) // 4)  # a quarter, rounded up
    largest = plain[candidates].sort(descending=True).values[:count]
    assert sorted(plain[changed].tolist()) == sorted(largest.tolist())


@pytest.mark.parametrize("name", ["ll_r", "ll_ct", "ll_cp"])
def test_losses_of_counted_labels_do_not_depend_on_ignored_ones(name: str) -> None:
    logits, targets, ignore = scene()
    other = torch.where(ignore, -3 * logits + 40, logits)
    one, two = (label_losses(large_loss(name), z, targets, ignore=ignore, epoch=1, rows=ROWS) for z in (logits, other))
    assert torch.equal(one, two)
    assert not one[ignore].any()


def test_ignored_zeros_are_never_flipped_for_good() -> None:
    logits, targets, ignore = scene()
    loss = PermanentLargeLossCorrection(IMAGES, LABELS, SHARE)
    for epoch in range(1, 30):
        loss(logits, targets, epoch=epoch, rows=ROWS, ignore=ignore)
    assert torch.equal(loss.flips[ROWS], (targets == 0) & ~ignore)


@pytest.mark.parametrize("name", ["ll_r", "ll_ct", "ll_cp"])
def test_a_batch_of_ignored_zeros_has_nothing_to_choose(name: str) -> None:
    logits, targets, _ = scene()
    losses = large_loss(name)(logits, targets, epoch=1, rows=ROWS, ignore=targets == 0)
    torch.testing.assert_close(losses, BceLoss()(logits, targets))


def test_expected_positives_are_counted_among_the_labels_that_count() -> None:
    logits, targets, ignore = scene()
    found = sum(
        float(logits[row, label].sigmoid())
        for row in range(IMAGES)
        for label in range(LABELS)
        if not ignore[row, label]
    )
    regulariser = ((found / IMAGES - 1.5) / LABELS) ** 2
    losses = EprLoss(1.5)(logits, targets, ignore=ignore)
    plain = torch.where(targets == 1, BceLoss()(logits, targets), 0)
    torch.testing.assert_close(losses, plain + regulariser)


@pytest.mark.parametrize("name", ["epr", "role"])
def test_ignored_labels_pull_at_nothing(name: str) -> None:
    """Neither by themselves nor through the number of positives."""
    logits, targets, ignore = scene()
    torch.manual_seed(0)
    loss = EprLoss(1.5) if name == "epr" else RoleLoss(IMAGES, LABELS, 1.5).double()
    logits.requires_grad_()
    label_losses(loss, logits, targets, ignore=ignore, rows=ROWS).mean().backward()
    assert logits.grad is not None
    assert not logits.grad[ignore].any()
    assert logits.grad[~ignore].all()
    for estimates in loss.parameters():
        assert estimates.grad is not None
        assert not estimates.grad[ROWS][ignore].any()
