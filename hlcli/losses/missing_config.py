"""Sections of the losses for training with missing labels (docs/missing_labels.md). No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hlcli.losses.section import LossSection
from hlcli.sections import Fraction

if TYPE_CHECKING:
    from hlcli.losses.base import Loss


class _Focal(LossSection):
    """What the losses of Zhang et al. do with observed positives."""

    margin: float = Field(1.0, ge=0, description="Taken off the logits of observed positives.")
    gamma: float = Field(2.0, ge=0, description="Power that weighs down easy labels; 0 does not.")


class Splc(_Focal):
    """Self-paced loss correction (Zhang et al., 2021): zeros with a high score count as missed positives."""

    loss_class = "hlcli.losses.splc.SplcLoss"
    loss: Literal["splc"] = "splc"
    tau: float = Field(0.6, gt=0, lt=1, description="Score above which a zero counts as a positive.")
    change_epoch: int = Field(1, ge=0, description="First epoch that corrects, counted from 0.")


class FocalMargin(_Focal):
    """Focal loss with a margin for positives (Zhang et al., 2021): SPLC that never corrects."""

    loss_class = "hlcli.losses.splc.SplcLoss"
    loss: Literal["focal_margin"] = "focal_margin"

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """SPLC without an epoch that corrects."""
        return self.make(change_epoch=None)


class Hill(_Focal):
    """Hill loss (Zhang et al., 2021): zeros with a high score pull less than those in between."""

    loss_class = "hlcli.losses.hill.HillLoss"
    loss: Literal["hill"] = "hill"
    lam: float = Field(1.5, ge=1, description="Shape of the zeros' loss (lam - p) p²; 1.5 is flat at p = 1.")


class An(LossSection):
    """Assume negative (Cole et al., 2021): cross entropy that takes every zero for a negative; the same as bce."""

    loss_class = "hlcli.losses.bce.BceLoss"
    loss: Literal["an"] = "an"


class Wan(LossSection):
    """Weak assume negative (Cole et al., 2021): zeros are negatives of little weight."""

    loss_class = "hlcli.losses.assume_negative.WeakNegativeLoss"
    loss: Literal["wan"] = "wan"
    negative_weight: Fraction | None = Field(
        None, description="Weight of a zero; null: 1 / (number of labels - 1), so that they weigh as one positive."
    )


class LabelSmoothing(LossSection):
    """Assume negative with label smoothing (Cole et al., 2021)."""

    loss_class = "hlcli.losses.assume_negative.SmoothedNegativeLoss"
    loss: Literal["label_smoothing"] = "label_smoothing"
    smoothing: float = Field(0.1, ge=0, lt=1, description="Half of it is what a zero counts, and a one less than 1.")


class Em(LossSection):
    """Entropy maximisation (Zhou et al., 2022): zeros are unknown, their scores pulled towards one half."""

    loss_class = "hlcli.losses.entropy.EntropyMaximisationLoss"
    loss: Literal["em"] = "em"
    alpha: float = Field(0.1, ge=0, description="Weight of the entropy of unknown labels; the paper's: 0.01 to 0.2.")


class _ExpectedPositives(LossSection):
    """What Cole et al. ask to be known of the zeros."""

    expected_positives: float = Field(gt=0, description="Mean number of true labels per image, seen and unseen.")
    weight: float = Field(1.0, ge=0, description="Factor of the regulariser.")


class Epr(_ExpectedPositives):
    """Expected positive regularisation (Cole et al., 2021): of zeros only the number of positives is known."""

    loss_class = "hlcli.losses.expected_positives.EprLoss"
    loss: Literal["epr"] = "epr"

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """The loss for `num_labels` labels; other levels of labels get cross entropy."""
        return self.make(num_labels=num_labels)


class Role(_ExpectedPositives):
    """Regularised online label estimation (Cole et al., 2021): all labels are estimated beside the network."""

    loss_class = "hlcli.losses.expected_positives.RoleLoss"
    loss: Literal["role"] = "role"
    lr_factor: float = Field(10.0, gt=0, description="Learning rate of the estimates as a multiple of optim.lr.")

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """The loss, with an estimate for every image and label."""
        return self.make(num_images=num_images, num_labels=num_labels)


class LlR(LossSection):
    """Large loss rejection (Kim et al., 2022): zeros with the largest losses are left out."""

    loss_class = "hlcli.losses.large_loss.LargeLossRejection"
    loss: Literal["ll_r"] = "ll_r"
    delta_rel: Fraction = Field(0.005, description="Share of the zeros by which more are left out every epoch.")


class LlCt(LossSection):
    """Temporary large loss correction (Kim et al., 2022): zeros with the largest losses count as positives."""

    loss_class = "hlcli.losses.large_loss.LargeLossCorrection"
    loss: Literal["ll_ct"] = "ll_ct"
    delta_rel: Fraction = Field(0.002, description="Share of the zeros by which more are corrected every epoch.")


class LlCp(LossSection):
    """Permanent large loss correction (Kim et al., 2022): zeros once corrected stay positives."""

    loss_class = "hlcli.losses.large_loss.PermanentLargeLossCorrection"
    loss: Literal["ll_cp"] = "ll_cp"
    delta_rel: Fraction = Field(0.001, description="Share of the remaining zeros that an epoch corrects.")

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """The loss, with a memory of corrections for every image and label."""
        return self.make(num_images=num_images, num_labels=num_labels)
