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

    loss: Literal["splc"] = "splc"
    tau: float = Field(0.6, gt=0, lt=1, description="Score above which a zero counts as a positive.")
    change_epoch: int = Field(1, ge=0, description="First epoch that corrects, counted from 0.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`SplcLoss`."""
        from hlcli.losses.splc import SplcLoss

        return SplcLoss


class FocalMargin(_Focal):
    """Focal loss with a margin for positives (Zhang et al., 2021): SPLC that never corrects."""

    loss: Literal["focal_margin"] = "focal_margin"

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`SplcLoss`."""
        from hlcli.losses.splc import SplcLoss

        return SplcLoss

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """SPLC without an epoch that corrects."""
        return self.make(change_epoch=None)


class Hill(_Focal):
    """Hill loss (Zhang et al., 2021): zeros with a high score pull less than those in between."""

    loss: Literal["hill"] = "hill"
    lam: float = Field(1.5, ge=1, description="Shape of the zeros' loss (lam - p) p²; 1.5 is flat at p = 1.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`HillLoss`."""
        from hlcli.losses.hill import HillLoss

        return HillLoss


class An(LossSection):
    """Assume negative (Cole et al., 2021): cross entropy that takes every zero for a negative; the same as bce."""

    loss: Literal["an"] = "an"

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`BceLoss`."""
        from hlcli.losses.bce import BceLoss

        return BceLoss


class Wan(LossSection):
    """Weak assume negative (Cole et al., 2021): zeros are negatives of little weight."""

    loss: Literal["wan"] = "wan"
    negative_weight: Fraction | None = Field(
        None, description="Weight of a zero; null: 1 / (number of labels - 1), so that they weigh as one positive."
    )

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`WeakNegativeLoss`."""
        from hlcli.losses.assume_negative import WeakNegativeLoss

        return WeakNegativeLoss


class LabelSmoothing(LossSection):
    """Assume negative with label smoothing (Cole et al., 2021)."""

    loss: Literal["label_smoothing"] = "label_smoothing"
    smoothing: float = Field(0.1, ge=0, lt=1, description="Half of it is what a zero counts, and a one less than 1.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`SmoothedNegativeLoss`."""
        from hlcli.losses.assume_negative import SmoothedNegativeLoss

        return SmoothedNegativeLoss


class Em(LossSection):
    """Entropy maximisation (Zhou et al., 2022): zeros are unknown, their scores pulled towards one half."""

    loss: Literal["em"] = "em"
    alpha: float = Field(0.1, ge=0, description="Weight of the entropy of unknown labels; the paper's: 0.01 to 0.2.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`EntropyMaximisationLoss`."""
        from hlcli.losses.entropy import EntropyMaximisationLoss

        return EntropyMaximisationLoss


class _ExpectedPositives(LossSection):
    """What Cole et al. ask to be known of the zeros."""

    expected_positives: float = Field(gt=0, description="Mean number of true labels per image, seen and unseen.")
    weight: float = Field(1.0, ge=0, description="Factor of the regulariser.")


class Epr(_ExpectedPositives):
    """Expected positive regularisation (Cole et al., 2021): of zeros only the number of positives is known."""

    loss: Literal["epr"] = "epr"

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`EprLoss`."""
        from hlcli.losses.expected_positives import EprLoss

        return EprLoss

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """The loss for `num_labels` labels; other levels of labels get cross entropy."""
        return self.make(num_labels=num_labels)


class Role(_ExpectedPositives):
    """Regularised online label estimation (Cole et al., 2021): all labels are estimated beside the network."""

    loss: Literal["role"] = "role"
    lr_factor: float = Field(10.0, gt=0, description="Learning rate of the estimates as a multiple of optim.lr.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`RoleLoss`."""
        from hlcli.losses.expected_positives import RoleLoss

        return RoleLoss

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """The loss, with an estimate for every image and label."""
        return self.make(num_images=num_images, num_labels=num_labels)


class LlR(LossSection):
    """Large loss rejection (Kim et al., 2022): zeros with the largest losses are left out."""

    loss: Literal["ll_r"] = "ll_r"
    delta_rel: Fraction = Field(0.005, description="Share of the zeros by which more are left out every epoch.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`LargeLossRejection`."""
        from hlcli.losses.large_loss import LargeLossRejection

        return LargeLossRejection


class LlCt(LossSection):
    """Temporary large loss correction (Kim et al., 2022): zeros with the largest losses count as positives."""

    loss: Literal["ll_ct"] = "ll_ct"
    delta_rel: Fraction = Field(0.002, description="Share of the zeros by which more are corrected every epoch.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`LargeLossCorrection`."""
        from hlcli.losses.large_loss import LargeLossCorrection

        return LargeLossCorrection


class LlCp(LossSection):
    """Permanent large loss correction (Kim et al., 2022): zeros once corrected stay positives."""

    loss: Literal["ll_cp"] = "ll_cp"
    delta_rel: Fraction = Field(0.001, description="Share of the remaining zeros that an epoch corrects.")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`PermanentLargeLossCorrection`."""
        from hlcli.losses.large_loss import PermanentLargeLossCorrection

        return PermanentLargeLossCorrection

    def build(self, num_images: int = 0, num_labels: int = 0) -> Loss:
        """The loss, with a memory of corrections for every image and label."""
        return self.make(num_images=num_images, num_labels=num_labels)
