"""The `objective` section of a recipe: which multi-label loss, with which numbers. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hlcli.losses.missing_config import (
    An,
    Em,
    Epr,
    FocalMargin,
    Hill,
    LabelSmoothing,
    LlCp,
    LlCt,
    LlR,
    Role,
    Splc,
    Wan,
)
from hlcli.losses.section import LossSection

if TYPE_CHECKING:
    from hlcli.losses.base import Loss


class Asymmetric(LossSection):
    """Asymmetric loss (Ridnik et al., 2021): positives and negatives are focused differently."""

    loss: Literal["asymmetric"] = "asymmetric"
    gamma_pos: float = Field(0.0, ge=0, description="Power that weighs down easy positives; 0 does not.")
    gamma_neg: float = Field(2.0, ge=0, description="Power that weighs down easy negatives; 0 does not.")
    clip: float = Field(0.0, ge=0, lt=1, description="Shift of the negatives' probability.")
    eps: float = Field(1e-5, gt=0, lt=0.5, description="Smallest probability inside the logarithm.")
    detach_focus: bool = Field(True, description="Treat the focusing weight as a constant (the reference's dtgfl).")

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`AsymmetricLoss`."""
        from hlcli.losses.asymmetric import AsymmetricLoss

        return AsymmetricLoss


class Bce(LossSection):
    """Binary cross entropy per label."""

    loss: Literal["bce"] = "bce"

    @classmethod
    def loss_class(cls) -> type[Loss]:
        """`BceLoss`."""
        from hlcli.losses.bce import BceLoss

        return BceLoss


LabelObjective = (
    Asymmetric | Bce | Splc | FocalMargin | Hill | An | Wan | LabelSmoothing | Em | Epr | Role | LlR | LlCt | LlCp
)
"""One of these, by its `loss`; the recipe's union has the objectives of captions beside them."""
