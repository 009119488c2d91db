"""Ignored labels cost nothing and pull at nothing."""

from __future__ import annotations

import torch

from hlcli.losses.bce import BceLoss
from hlcli.losses.masking import label_losses


def test_ignored_labels_have_no_loss_and_no_gradient() -> None:
    logits = torch.randn(3, 4, requires_grad=True)
    targets, ignore = torch.randint(2, (3, 4)).float(), torch.rand(3, 4) < 0.5
    ignore[0, 0], ignore[0, 1] = True, False
    losses = label_losses(BceLoss(), logits, targets, ignore=ignore)
    free = label_losses(BceLoss(), logits, targets)
    torch.testing.assert_close(losses, torch.where(ignore, torch.zeros(()), free))
    losses.sum().backward()
    assert (logits.grad[ignore] == 0).all()
    assert (logits.grad[~ignore] != 0).all()


def test_the_epoch_reaches_the_criterion() -> None:
    seen = []

    def criterion(
        logits: torch.Tensor, targets: torch.Tensor, *, epoch: int = 0, rows: torch.Tensor | None = None, **_: object
    ) -> torch.Tensor:
        seen.append(epoch)
        return logits - targets

    label_losses(criterion, torch.zeros(1, 2), torch.zeros(1, 2), epoch=7)
    assert seen == [7]
