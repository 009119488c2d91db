"""Losses for missing labels: each against its formula in NumPy, and what all of them promise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter
from torch import Tensor, nn

from hlcli.losses.assume_negative import SmoothedNegativeLoss, WeakNegativeLoss
from hlcli.losses.bce import BceLoss
from hlcli.losses.config import Asymmetric, LabelObjective
from hlcli.losses.entropy import EntropyMaximisationLoss
from hlcli.losses.expected_positives import EprLoss
from hlcli.losses.hill import HillLoss
from hlcli.losses.splc import SplcLoss

SECTIONS = TypeAdapter(Annotated[LabelObjective, Field(discriminator="loss")])

NEEDED: dict[str, dict[str, Any]] = {"epr": {"expected_positives": 2.0}, "role": {"expected_positives": 2.0}}
LOSSES = tuple(one.model_fields["loss"].default for one in get_args(LabelObjective))
IMAGES, LABELS = 5, 4


def build(name: str, num_images: int = IMAGES, num_labels: int = LABELS, **options: Any) -> nn.Module:
    """The loss as a recipe gives it."""
    section = SECTIONS.validate_python({"loss": name, **NEEDED.get(name, {}), **options})
    torch.manual_seed(0)
    return section.build(num_images=num_images, num_labels=num_labels)


def scene(seed: int = 0, scale: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [5, 4], targets with one positive per image, rows."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(IMAGES, LABELS, generator=generator, dtype=torch.float64)
    chosen = torch.randint(LABELS, (IMAGES,), generator=generator)
    targets = torch.nn.functional.one_hot(chosen, LABELS).double()
    return logits, targets, torch.randperm(IMAGES, generator=generator)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def plain_bce(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -y * np.log(sigmoid(z)) - (1 - y) * np.log(1 - sigmoid(z))


def plain_splc(z: np.ndarray, y: np.ndarray, epoch: int) -> np.ndarray:
    shifted = np.where(y == 1, z - 1, z)
    p = sigmoid(shifted)
    if epoch >= 1:
        y = np.where(p > 0.6, 1.0, y)
    miss = (1 - p) * y + p * (1 - y)
    return plain_bce(shifted, y) * miss**2


def plain_hill(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    p, q = sigmoid(z), sigmoid(z - 1)
    return -y * (1 - q) ** 2 * np.log(q) + (1 - y) * (1.5 - p) * p**2


def plain_wan(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return plain_bce(z, y) * (y + (1 - y) / (z.shape[1] - 1))


def plain_smoothing(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return plain_bce(z, 0.95 * y + 0.05 * (1 - y))


def plain_em(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = sigmoid(z)
    entropy = -p * np.log(p) - (1 - p) * np.log(1 - p)
    return -(y * np.log(p) + (1 - y) * 0.1 * entropy)


def plain_epr(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = sigmoid(z)
    return -y * np.log(p) + ((p.sum(axis=1).mean() - 2.0) / z.shape[1]) ** 2


FORMULAS: list[tuple[nn.Module, int, Callable[..., np.ndarray]]] = [
    (SplcLoss(), 0, lambda z, y: plain_splc(z, y, 0)),
    (SplcLoss(), 1, lambda z, y: plain_splc(z, y, 1)),
    (HillLoss(), 3, plain_hill),
    (BceLoss(), 3, plain_bce),
    (WeakNegativeLoss(), 3, plain_wan),
    (SmoothedNegativeLoss(), 3, plain_smoothing),
    (EntropyMaximisationLoss(), 3, plain_em),
    (EprLoss(2.0), 3, plain_epr),
]


@pytest.mark.parametrize(("loss", "epoch", "plain"), FORMULAS)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 4))
@settings(max_examples=20, deadline=None)
def test_equals_its_formula_written_plainly(
    loss: nn.Module, epoch: int, plain: Callable[..., np.ndarray], seed: int, scale: float
) -> None:
    logits, targets, _ = scene(seed, scale)
    expected = torch.from_numpy(plain(logits.numpy(), targets.numpy()))
    torch.testing.assert_close(loss(logits, targets, epoch=epoch), expected, rtol=1e-9, atol=1e-12)


def test_hand_computed_case() -> None:
    """sigmoid of 0, ln 3, -ln 3 is 1/2, 3/4, 1/4; the margin ln 3 makes the positive's logit 0."""
    ln3 = float(np.log(3))
    logits = torch.tensor([[ln3, 0.0, ln3], [ln3, -ln3, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    ln2, ln4 = float(np.log(2)), float(np.log(4))
    before = [[ln2 / 4, ln2 / 4, 9 / 16 * ln4], [ln2 / 4, (ln4 - ln3) / 16, ln2 / 4]]
    after = [[ln2 / 4, ln2 / 4, (ln4 - ln3) / 16], [ln2 / 4, (ln4 - ln3) / 16, ln2 / 4]]
    loss = SplcLoss(margin=ln3)
    for epoch, expected in enumerate((before, after)):
        torch.testing.assert_close(loss(logits, targets, epoch=epoch), torch.tensor(expected, dtype=torch.float64))
    hill = [[ln2 / 4, 1 / 4, 0.75 * 9 / 16], [ln2 / 4, 1.25 / 16, 1 / 4]]
    torch.testing.assert_close(HillLoss(margin=ln3)(logits, targets), torch.tensor(hill, dtype=torch.float64))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("epoch", [0, 2])
@given(seed=st.integers(0, 2**31), scale=st.floats(0, 100))
@settings(max_examples=10, deadline=None)
def test_every_loss_is_finite_per_image_and_label(name: str, epoch: int, seed: int, scale: float) -> None:
    logits, targets, rows = scene(seed, scale)
    logits.requires_grad_()
    losses = build(name)(logits, targets, epoch=epoch, rows=rows)
    losses.sum().backward()
    assert losses.shape == (IMAGES, LABELS)
    assert losses.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    smallest = -0.1 * np.log(2) - 1e-12 if name == "em" else 0.0
    assert losses.min() >= smallest


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("has_rows", [True, False])
def test_extreme_logits_give_finite_losses_and_gradients(name: str, dtype: torch.dtype, has_rows: bool) -> None:
    logits = torch.tensor([[-1e4, 1e4, -1e4, 1e4], [0, 200, -200, 88]], dtype=dtype, requires_grad=True)
    targets = torch.tensor([[1.0, 0, 0, 1], [0, 0, 1, 0]])
    rows = torch.tensor([1, 0]) if has_rows else None
    for epoch in (0, 1):
        losses = build(name)(logits, targets, epoch=epoch, rows=rows)
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        assert losses.dtype == torch.float32
        assert losses.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("kind", [SplcLoss, HillLoss])
def test_focusing_keeps_its_pull_on_hopeless_positives(kind: type, gamma: float) -> None:
    logits = torch.tensor([[-1e4, 1e4]], requires_grad=True)
    losses = kind(gamma=gamma)(logits, torch.tensor([[1.0, 1.0]]))
    losses.sum().backward()
    torch.testing.assert_close(losses.detach(), torch.tensor([[10_001.0, 0.0]]))
    torch.testing.assert_close(logits.grad, torch.tensor([[-1.0, 0.0]]))


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"asymmetric"}))
@pytest.mark.parametrize("epoch", [0, 1])
def test_gradients_are_those_of_the_loss(name: str, epoch: int) -> None:
    """Asymmetric loss, whose weight is a constant by default, has its own test."""
    logits, targets, _ = scene()
    logits.requires_grad_()
    loss = build(name)
    assert torch.autograd.gradcheck(lambda x: loss(x, targets, epoch=epoch), logits)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_order_of_images_and_labels_plays_no_part(name: str, seed: int) -> None:
    logits, targets, rows = scene(seed)
    images, labels = torch.randperm(IMAGES), torch.randperm(LABELS)
    one, two = build(name), build(name)
    if name == "role":
        two.load_state_dict({key: value[:, labels] for key, value in one.state_dict().items()})
    straight = one(logits, targets, epoch=2, rows=rows)
    shuffled = two(logits[images][:, labels], targets[images][:, labels], epoch=2, rows=rows[images])
    torch.testing.assert_close(shuffled, straight[images][:, labels])


@given(seed=st.integers(0, 2**31), scale=st.floats(0, 20))
@settings(max_examples=30, deadline=None)
def test_losses_meet_where_they_should(seed: int, scale: float) -> None:
    logits, targets, rows = scene(seed, scale)
    bce = BceLoss()(logits, targets)

    def same(name: str, expected: Tensor, *, epoch: int = 0, rounding: float = 1e-12, **options: Any) -> None:
        got = build(name, **options)(logits, targets, epoch=epoch, rows=rows)
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=rounding)

    same("an", bce, epoch=5)
    for name in ("ll_r", "ll_ct", "ll_cp"):
        same(name, bce)
        same(name, bce, epoch=5, delta_rel=0)
    same("wan", bce, negative_weight=1)
    same("label_smoothing", bce, smoothing=0)
    same("focal_margin", bce, gamma=0, margin=0)
    same("focal_margin", build("splc")(logits, targets, epoch=0), epoch=9)
    same("splc", build("focal_margin")(logits, targets), epoch=9, change_epoch=10)
    focal = Asymmetric(gamma_pos=2, gamma_neg=2, eps=1e-30, detach_focus=False).build()
    if scale < 5:  # it takes the logarithm of 1 - p, whose rounding grows with the exponential of the logit
        rounding = max(1e-12, 1e-15 * float(logits.abs().max().exp()))
        same("focal_margin", focal(logits, targets), margin=0, rounding=rounding)
    same("epr", torch.where(targets == 1, bce, 0), weight=0)
    same("em", torch.where(targets == 1, bce, 0), alpha=0)


def test_weak_negatives_of_an_image_weigh_as_one_positive() -> None:
    losses = WeakNegativeLoss()(torch.zeros(3, 9), torch.eye(9)[:3])
    torch.testing.assert_close(losses.sum(dim=1), torch.full((3,), 2 * float(np.log(2))))
    assert WeakNegativeLoss()(torch.zeros(2, 1), torch.zeros(2, 1)).isfinite().all()


@given(seed=st.integers(0, 2**31), epoch=st.integers(0, 3), tau=st.floats(0.05, 0.95))
@settings(max_examples=30, deadline=None)
def test_splc_only_adds_positives_above_the_threshold(seed: int, epoch: int, tau: float) -> None:
    logits, targets, _ = scene(seed)
    loss = SplcLoss(tau=tau, change_epoch=2)
    corrected = loss.corrected(logits, targets, epoch)
    assert (corrected >= targets).all()
    added = corrected != targets
    assert torch.equal(added, (targets == 0) & (logits.sigmoid() > tau) if epoch >= 2 else torch.zeros_like(added))
    whole = loss.corrected(logits, targets.long(), epoch)
    assert whole.dtype == torch.int64
    assert torch.equal(whole.double(), corrected)


def test_splc_threshold_is_strict_and_correction_has_no_gradient() -> None:
    logits, targets = torch.zeros(1, 2, requires_grad=True), torch.zeros(1, 2)
    assert not SplcLoss(tau=0.5, change_epoch=0).corrected(logits, targets, 0).any()
    assert SplcLoss(tau=0.49, change_epoch=0).corrected(logits, targets, 0).all()
    assert not SplcLoss(tau=0.49, change_epoch=0).corrected(logits, targets, 0).requires_grad


def test_hill_pulls_zeros_most_at_one_half_and_not_at_all_at_one() -> None:
    """With lam = 1.5 the slope is 3 p² (1 - p)²."""
    logits = torch.linspace(-8, 30, 200, dtype=torch.float64, requires_grad=True)
    HillLoss()(logits[None], torch.zeros(1, 200)).sum().backward()
    scores = logits.detach().sigmoid()
    torch.testing.assert_close(logits.grad, 3 * scores**2 * (1 - scores) ** 2)


def test_entropy_maximisation_pulls_unknown_scores_to_one_half() -> None:
    logits = torch.tensor([[-2.0, 0.0, 2.0]], requires_grad=True)
    EntropyMaximisationLoss(0.2)(logits, torch.zeros(1, 3)).sum().backward()
    below, half, above = logits.grad[0].tolist()
    assert below < 0 == half < above
    assert above == pytest.approx(-below)


def test_a_level_of_other_size_has_no_expected_positives() -> None:
    logits, targets, _ = scene()
    for name in ("epr", "role"):
        torch.testing.assert_close(build(name)(logits[:, :3], targets[:, :3]), BceLoss()(logits[:, :3], targets[:, :3]))
