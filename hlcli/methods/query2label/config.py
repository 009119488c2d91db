"""The `model` section of a recipe for Query2Label. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field, model_validator

from hlcli.methods.base import Criterion, LevelMaps, MethodSection, OwnPhotos

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.backbones import GridBackbone
    from hlcli.data.labels import LabelSpace
    from hlcli.methods.query2label.model import Query2Label as Query2LabelModel


class Query2Label(MethodSection):
    """Every label asks the image with a learned query: HLEG's ancestor, and the baseline of most papers."""

    unwrapped_weights: ClassVar[Literal["regular", "ema"]] = "ema"
    own_photos: ClassVar[OwnPhotos | None] = OwnPhotos({"hidden_dim": 256, "feedforward_dim": 512}, lr=5e-4)

    method: Literal["query2label"] = "query2label"
    hidden_dim: int = Field(2048, ge=4, le=65536, multiple_of=4, description="Width of the transformer.")
    feedforward_dim: int = Field(8192, ge=1, le=65536, description="Hidden width of its feed-forward steps.")
    num_heads: int = Field(4, ge=1, description="Attention heads; they share hidden_dim evenly.")
    encoder_layers: int = Field(1, ge=0, description="Layers over the grid, before the labels' decoder layers.")
    decoder_layers: int = Field(2, ge=1, description="Layers in which labels look at the grid.")
    self_attention: bool = Field(False, description="Labels attend to each other in every decoder layer.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Probability with which a value is dropped in training.")
    loss_scale: float = Field(1.0, gt=0, description="Factor of the loss, which is summed over labels.")

    @model_validator(mode="after")
    def _check_widths(self) -> Query2Label:
        if self.hidden_dim % self.num_heads:
            raise ValueError(f"hidden_dim must be a multiple of num_heads (got {self.hidden_dim} and {self.num_heads})")
        return self

    def scale_of(self, criterion: Criterion) -> float:
        """`loss_scale`."""
        return self.loss_scale

    def build(self, backbone: GridBackbone, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that backbone and label space."""
        from hlcli.layers.transformer import DecoderLayer, Encoder, EncoderLayer
        from hlcli.methods.query2label.model import Query2Label as Query2LabelModel

        sizes = (self.hidden_dim, self.num_heads, self.feedforward_dim, self.dropout)
        decoder = [
            DecoderLayer(*sizes, pre_norm=False, has_self_attention=self.self_attention)
            for _ in range(self.decoder_layers)
        ]
        return Query2LabelModel(
            backbone,
            Encoder([EncoderLayer(*sizes) for _ in range(self.encoder_layers)], self.hidden_dim),
            decoder,
            num_features=backbone.num_features,
            hidden_dim=self.hidden_dim,
            num_labels=labels.num_labels,
            grid=backbone.grid,
            class_tokens=backbone.class_tokens,
        )

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """The published code's state under our names, complete for `model`."""
        from hlcli.methods.query2label.convert import POSITION, from_reference
        from hlcli.methods.reference_names import complete

        class_tokens = cast("Query2LabelModel", model).class_tokens
        return complete(from_reference(state, class_tokens), model, POSITION[1:])

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the published code's names, such that its strict loader takes it."""
        from hlcli.methods.query2label.convert import to_reference

        return to_reference(state, cast("Query2LabelModel", model).grid)

    def level_maps(self, model: nn.Module, images: Tensor) -> LevelMaps:
        """Scores of images [B, 3, H, W], and where their labels look in the last layer, mean of the heads."""
        output, attention_maps = cast("Query2LabelModel", model).attention_maps(images)
        return LevelMaps((output.logits,), (attention_maps,))

    def label_vectors(self, model: nn.Module) -> Tensor:
        """Rows of the classifier, [L, D]: after training they say more than the queries, which change little."""
        return cast("Query2LabelModel", model).classifier.weight
