"""The `model` section of a recipe for SGRE. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from hlcli.methods.base import Criterion, LevelMaps
from hlcli.methods.label_attention import LabelAttentionSection

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.backbones import GridBackbone
    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch


class Sgre(LabelAttentionSection):
    """Semantic-guided representation enhancement: what labels have found is given back to every grid cell."""

    method: Literal["sgre"] = "sgre"
    pre_norm: bool = Field(False, description="The encoder normalises before each step instead of after it.")
    temperature: float = Field(1.0, gt=0, description="Divisor of the attention scores: higher spreads the maps.")
    branch_weight: float = Field(
        1.0, ge=0, description="Weight of the loss on the label features themselves (the paper's lambda)."
    )
    classifier_dropout: float = Field(0.5, ge=0, lt=1, description="Dropout inside the classifier of grid cells.")

    def build(self, backbone: GridBackbone, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that backbone and label space."""
        raise NotImplementedError

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """The published code's state under our names, complete for `model`."""
        raise NotImplementedError

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the published code's names."""
        raise NotImplementedError

    def training_losses(
        self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int
    ) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is trained."""
        raise NotImplementedError

    def level_maps(self, model: nn.Module, images: Tensor) -> LevelMaps:
        """Scores of images [B, 3, H, W] and where each fine label looks."""
        raise NotImplementedError
