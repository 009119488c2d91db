"""Losses that remember something of every image: ROLE and the large-loss family."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from warm_programs import run_two

from hlcli.losses.bce import BceLoss
from hlcli.losses.expected_positives import EprLoss, RoleLoss
from hlcli.losses.large_loss import (
    LargeLossCorrection,
    LargeLossRejection,
    PermanentLargeLossCorrection,
    largest,
)

IMAGES, LABELS = 6, 5


def scene(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [4, 5], targets, rows of a split of six images."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(4, LABELS, generator=generator, dtype=torch.float64)
    targets = (torch.rand(4, LABELS, generator=generator) < 0.3).double()
    return logits, targets, torch.tensor([4, 0, 5, 2])


def role() -> RoleLoss:
    torch.manual_seed(0)
    return RoleLoss(IMAGES, LABELS, expected_positives=1.5).double()


# --- ROLE


def test_role_equals_its_formula() -> None:
    loss, (logits, targets, rows) = role(), scene()
    z, y = logits.numpy(), targets.numpy()
    guessed = loss.estimates.detach().numpy()[rows.numpy()] + np.log(0.995 / 0.005) * y

    def bce(logit: np.ndarray, target: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-logit))
        return -target * np.log(p) - (1 - target) * np.log(1 - p)

    def epr(logit: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-logit))
        return -y * np.log(p) + ((p.sum() / 4 - 1.5) / LABELS) ** 2

    f, e = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-guessed))
    expected = (bce(z, e) + epr(z)) / 2 + (bce(guessed, f) + epr(guessed)) / 2
    torch.testing.assert_close(loss(logits, targets, rows=rows), torch.from_numpy(expected))


def test_role_sides_learn_from_each_other_as_from_constants() -> None:
    loss, (logits, targets, rows) = role(), scene()
    logits.requires_grad_()
    loss(logits, targets, rows=rows).mean().backward()
    epr = EprLoss(1.5)
    estimated = (loss.estimates.detach()[rows] + loss.observed_logit * targets).requires_grad_()
    network = logits.detach().requires_grad_()
    ((BceLoss()(network, estimated.detach().sigmoid()) + epr(network, targets)).mean() / 2).backward()
    ((BceLoss()(estimated, network.detach().sigmoid()) + epr(estimated, targets)).mean() / 2).backward()
    torch.testing.assert_close(logits.grad, network.grad)
    assert loss.estimates.grad is not None
    torch.testing.assert_close(loss.estimates.grad[rows], estimated.grad)
    assert not loss.estimates.grad[[1, 3]].any()


def test_role_begins_undecided_but_sure_of_observed_positives() -> None:
    loss = RoleLoss(200, 30, expected_positives=2.0)
    first = loss.estimates.detach()
    scores = first.sigmoid()
    assert scores.min() >= 0.4 - 1e-6
    assert scores.max() <= 0.6 + 1e-6
    assert scores.mean().item() == pytest.approx(0.5, abs=0.01)
    positives = (first + loss.observed_logit).sigmoid()
    assert positives.min() > 0.99
    assert positives.mean().item() == pytest.approx(0.995, abs=1e-3)


def test_role_finds_the_missed_labels_of_a_sure_network() -> None:
    torch.manual_seed(0)
    truth = torch.eye(4).repeat(2, 1) + torch.eye(4).roll(1, 0).repeat(2, 1)  # two labels per image
    seen = torch.eye(4).repeat(2, 1)
    loss = RoleLoss(8, 4, expected_positives=2.0)
    optimizer = torch.optim.SGD(loss.parameters(), lr=20.0)
    for _ in range(100):
        optimizer.zero_grad()
        loss(4 * (2 * truth - 1), seen, rows=torch.arange(8)).mean().backward()
        optimizer.step()
    found = (loss.estimates.detach() + loss.observed_logit * seen) > 0
    assert torch.equal(found, truth == 1)


def test_role_without_rows_needs_no_memory() -> None:
    loss, (logits, targets, _) = role(), scene()
    expected = (BceLoss()(logits, targets) + EprLoss(1.5)(logits, targets)) / 2
    torch.testing.assert_close(loss(logits, targets), expected)
    loss(logits.requires_grad_(), targets).sum().backward()
    assert loss.estimates.grad is None


# --- large losses


@given(seed=st.integers(0, 2**31), share=st.floats(0, 1.5))
@settings(max_examples=60, deadline=None)
def test_largest_is_that_share_of_the_candidates_rounded_up(seed: int, share: float) -> None:
    logits, targets, _ = scene(seed)
    losses, candidates = BceLoss()(logits, targets), targets == 0
    chosen = largest(losses, candidates, share)
    assert not (chosen & ~candidates).any()
    count = int(candidates.sum())
    assert chosen.sum() == min(count, np.ceil(share * count - 1e-9))
    rest = candidates & ~chosen
    if chosen.any() and rest.any():
        assert losses[chosen].min() >= losses[rest].max()


def test_largest_never_takes_more_than_the_share_of_equal_losses() -> None:
    candidates = torch.ones(3, 10, dtype=torch.bool)
    assert largest(torch.zeros(3, 10), candidates, 0.1).sum() == 3
    assert not largest(torch.ones(3, 10), ~candidates, 0.5).any()


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_rejected_and_corrected_zeros_are_the_same_and_grow_with_the_epoch(seed: int, epoch: int) -> None:
    logits, targets, _ = scene(seed)
    plain = BceLoss()(logits, targets)
    rejected = LargeLossRejection(0.1)(logits, targets, epoch=epoch)
    corrected = LargeLossCorrection(0.1)(logits, targets, epoch=epoch)
    flips = largest(plain, targets == 0, 0.1 * epoch)
    assert flips.sum() == min(int((targets == 0).sum()), np.ceil(0.1 * epoch * int((targets == 0).sum()) - 1e-9))
    torch.testing.assert_close(rejected, torch.where(flips, 0, plain))
    torch.testing.assert_close(corrected, torch.where(flips, BceLoss()(logits, torch.ones_like(targets)), plain))


def test_rejected_zeros_get_no_gradient() -> None:
    logits, targets, _ = scene()
    logits.requires_grad_()
    losses = LargeLossRejection(0.2)(logits, targets, epoch=1)
    losses.sum().backward()
    assert torch.equal(logits.grad == 0, losses == 0)
    assert (losses == 0).sum() == np.ceil(0.2 * int((targets == 0).sum()))


@pytest.mark.parametrize("loss", [LargeLossRejection(0.3), LargeLossCorrection(0.3)])
def test_evaluation_mode_measures_plain_cross_entropy(loss: torch.nn.Module) -> None:
    logits, targets, _ = scene()
    torch.testing.assert_close(loss.eval()(logits, targets, epoch=3), BceLoss()(logits, targets))
    loss.train()
    assert not torch.equal(loss(logits, targets, epoch=3), BceLoss()(logits, targets))


def test_permanent_flips_persist_and_grow() -> None:
    logits, targets, rows = scene()
    loss = PermanentLargeLossCorrection(IMAGES, LABELS, 0.2)
    zeros = int((targets == 0).sum())
    loss(logits, targets, epoch=0, rows=rows)
    assert not loss.flips.any()
    first = loss(logits, targets, epoch=1, rows=rows)
    flips = loss.flips.clone()
    assert flips.sum() == np.ceil(0.2 * zeros)
    assert not flips[[1, 3]].any()
    assert not (flips[rows] & (targets == 1)).any()
    torch.testing.assert_close(first, BceLoss()(logits, (targets == 1) | flips[rows]))
    # Even when the network comes to doubt them, they stay, and others join.
    loss(-logits, targets, epoch=2, rows=rows)
    assert (loss.flips >= flips).all()
    assert loss.flips.sum() == np.ceil(0.2 * zeros) + np.ceil(0.2 * (zeros - np.ceil(0.2 * zeros)))


def test_permanent_flips_are_saved_with_the_loss() -> None:
    logits, targets, rows = scene()
    loss = PermanentLargeLossCorrection(IMAGES, LABELS, 0.2)
    loss(logits, targets, epoch=1, rows=rows)
    other = PermanentLargeLossCorrection(IMAGES, LABELS, 0.2)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(
        other(logits, targets, epoch=2, rows=rows), loss(logits, targets, epoch=2, rows=rows), rtol=0, atol=0
    )


def test_nothing_is_flipped_for_good_in_evaluation_or_without_rows() -> None:
    logits, targets, rows = scene()
    loss = PermanentLargeLossCorrection(IMAGES, LABELS, 0.2)
    coarse = loss(logits[:, :3], targets[:, :3], epoch=2)
    torch.testing.assert_close(coarse, LargeLossCorrection(0.2)(logits[:, :3], targets[:, :3], epoch=2))
    loss.eval()
    torch.testing.assert_close(loss(logits, targets, epoch=2, rows=rows), BceLoss()(logits, targets))
    assert not loss.flips.any()


FLIP_IN_A_PROCESS = """
import os, sys, torch, torch.distributed as dist
from hlcli.losses.large_loss import PermanentLargeLossCorrection
folder, rank = sys.argv[1], int(os.environ["RANK"])
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
torch.set_num_threads(1)
loss = PermanentLargeLossCorrection(8, 5, 0.2)
for step in range(2):  # each process has images of its own
    logits = torch.randn(2, 5, generator=torch.Generator().manual_seed(10 * step + rank))
    loss(logits, torch.eye(5)[:2], epoch=1, rows=torch.tensor([0, 1]) + 4 * step + 2 * rank)
torch.save(loss.flips, f"{folder}/flips{rank}.pt")
dist.destroy_process_group()
sys.exit(0)
"""


def test_two_processes_agree_on_permanent_flips(tmp_path: Path) -> None:
    done = run_two(tmp_path, before=FLIP_IN_A_PROCESS)
    assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / f"flips{rank}.pt", weights_only=True) for rank in range(2))
    assert torch.equal(one, two)
    of_pairs = one.sum(dim=1).view(4, 2).sum(dim=1)
    assert of_pairs.tolist() == [2, 2, 2, 2]  # a fifth of 8 zeros, rounded up, of each process and step
