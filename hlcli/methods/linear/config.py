"""The `model` section of a recipe for the plain baseline. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field

from hlcli.methods.base import Criterion, MethodSection, OwnPhotos

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.backbones import GridBackbone
    from hlcli.data.labels import LabelSpace
    from hlcli.methods.linear.model import Linear as LinearModel


class Linear(MethodSection):
    """The baseline that everything is compared with: mean of the grid, one linear layer."""

    own_photos: ClassVar[OwnPhotos | None] = OwnPhotos({}, lr=1e-3)  # a layer alone stands more than a transformer

    method: Literal["linear"] = "linear"
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the linear layer.")
    loss_scale: float = Field(1.0, gt=0, description="Factor of the loss, which is summed over labels.")

    def scale_of(self, criterion: Criterion) -> float:
        """`loss_scale`."""
        return self.loss_scale

    def build(self, backbone: GridBackbone, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that backbone and label space."""
        from hlcli.methods.linear.model import Linear as LinearModel

        return LinearModel(
            backbone, num_features=backbone.num_features, num_labels=labels.num_labels, dropout=self.dropout
        )

    def label_vectors(self, model: nn.Module) -> Tensor:
        """Rows of the linear layer, [L, D]."""
        return cast("LinearModel", model).head.weight
