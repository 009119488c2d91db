"""The `model` section of a recipe for HLEG. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field, model_validator

from hlcli.errors import RecipeError
from hlcli.methods.base import Criterion, LevelMaps, MethodSection, OwnPhotos

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.backbones import GridBackbone
    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.hleg.model import Hleg as HlegModel
    from hlcli.methods.hleg.model import HlegHead


class Hleg(MethodSection):
    """Hierarchical label embedding and grouping: one decoder layer per level of the label tree."""

    maps_every_level: ClassVar[bool] = True
    unwrapped_weights: ClassVar[Literal["regular", "ema"]] = "ema"
    own_photos: ClassVar[OwnPhotos | None] = OwnPhotos({"hidden_dim": 256, "feedforward_dim": 512}, lr=5e-4)

    method: Literal["hleg"] = "hleg"
    hidden_dim: int = Field(2048, ge=4, le=65536, description="Width of the transformer.")
    feedforward_dim: int = Field(8192, ge=1, le=65536, description="Hidden width of its feed-forward steps.")
    num_heads: int = Field(4, ge=1, description="Attention heads; they share hidden_dim evenly.")
    encoder_layers: int = Field(1, ge=0, description="Layers over the grid, before the levels' decoder layers.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Probability with which a value is dropped in training.")
    pre_norm: bool = Field(False, description="Normalise before each step instead of after it.")
    keep_first_self_attention: bool = Field(False, description="Fine labels attend to each other.")
    keep_other_self_attention: bool = Field(False, description="Labels of the levels above attend to each other.")
    input_projection: bool | None = Field(
        None, description="Linear layer from backbone to transformer; null: only where their widths differ."
    )
    level_loss: Literal["hard_first_sample", "hard_first_batch", "sum"] = Field(
        "hard_first_sample", description="The hardest level of each image, of the batch, or all levels."
    )
    alpha_fine: float = Field(0.1, ge=0, description="Weight of the fine level's loss, added to the above.")
    loss_scale: float = Field(1.0, gt=0, description="Factor of both.")
    localisation_weight: float = Field(
        0.0, ge=0, description="Weight of the localisation loss (its authors: 0.1); needs object masks."
    )
    localisation_differentiable: bool = Field(
        True, description="Let the localisation loss train; false adds a constant, as published."
    )
    localisation_map_threshold: float | None = Field(
        None, ge=0, lt=1, description="Cut the maps of the localisation loss to 0 and 1 here; null keeps them."
    )

    @model_validator(mode="after")
    def _check_widths(self) -> Hleg:
        if self.hidden_dim % 4:
            raise ValueError(f"hidden_dim must be a multiple of 4 for the position code (got {self.hidden_dim})")
        if self.hidden_dim % self.num_heads:
            raise ValueError(f"hidden_dim must be a multiple of num_heads (got {self.hidden_dim} and {self.num_heads})")
        return self

    @model_validator(mode="after")
    def _check_localisation(self) -> Hleg:
        trains = self.localisation_weight > 0 and self.localisation_differentiable
        if trains and self.localisation_map_threshold is not None:
            raise ValueError(
                "localisation_map_threshold leaves no gradient; set it to null, or localisation_differentiable to false"
            )
        return self

    def build(self, backbone: GridBackbone, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that backbone and label space.

        Raises:
            RecipeError: when the localisation loss is on and the label space has no object or context labels, or
                when the backbone keeps a class token.
        """
        from hlcli.methods.hleg import model

        if backbone.class_tokens:
            raise RecipeError("backbone.class_token: HLEG has no use for a class token.", "Set it to false.")

        regulated: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
        if self.localisation_weight > 0:
            regulated = (labels.subsets.get("object", ()), labels.subsets.get("context", ()))
            if not any(regulated):
                raise RecipeError(
                    f"model.localisation_weight is {self.localisation_weight}, but the data set names no labels in "
                    "the subsets `object` or `context`.",
                    "Set model.localisation_weight=0 or use a data set that has them (intentonomy).",
                )
        head = self.build_head(labels, num_features=backbone.num_features, grid=backbone.grid)
        return model.Hleg(
            backbone,
            head,
            object_labels=regulated[0],
            context_labels=regulated[1],
            differentiable_cam=self.localisation_differentiable,
        )

    def build_head(self, labels: LabelSpace, *, num_features: int, grid: tuple[int, int]) -> HlegHead:
        """Everything after the feature map of that width and shape.

        Raises:
            RecipeError: when a projection is forbidden but the widths differ.
        """
        from hlcli.layers.transformer import DecoderLayer, Encoder, EncoderLayer
        from hlcli.methods.hleg.model import HlegHead

        if self.input_projection is False and num_features != self.hidden_dim:
            raise RecipeError(
                f"model.hidden_dim is {self.hidden_dim}, but the backbone gives {num_features} features and "
                "model.input_projection is false.",
                f"Set model.hidden_dim={num_features} or model.input_projection=true.",
            )
        sizes = (self.hidden_dim, self.num_heads, self.feedforward_dim, self.dropout)
        encoder = Encoder(
            [EncoderLayer(*sizes, pre_norm=self.pre_norm) for _ in range(self.encoder_layers)], self.hidden_dim
        )
        keeps = [self.keep_first_self_attention] + [self.keep_other_self_attention] * (len(labels.levels) - 1)
        decoder = [DecoderLayer(*sizes, pre_norm=self.pre_norm, has_self_attention=keep) for keep in keeps]
        return HlegHead(
            labels,
            encoder,
            decoder,
            num_features=num_features,
            hidden_dim=self.hidden_dim,
            grid=grid,
            input_projection=self.input_projection or num_features != self.hidden_dim,
        )

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """The published code's state under our names, complete for `model`."""
        from hlcli.methods.hleg.convert import POSITION, from_reference
        from hlcli.methods.reference_names import complete

        return complete(from_reference(state), model, POSITION[1:])

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the published code's names, such that its strict loader takes it."""
        from hlcli.methods.hleg.convert import to_reference

        head = cast("HlegHead", model.head)
        return to_reference(state, head.sizes[::-1], head.grid, template_layer=True)

    def training_losses(
        self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int
    ) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is trained."""
        from hlcli.methods.hleg.objective import training_losses

        return training_losses(
            model,
            batch,
            criterion,
            epoch=epoch,
            level_loss=self.level_loss,
            alpha_fine=self.alpha_fine,
            loss_scale=self.loss_scale,
            localisation_weight=self.localisation_weight,
            map_threshold=self.localisation_map_threshold,
        )

    def level_maps(self, model: nn.Module, images: Tensor) -> LevelMaps:
        """Scores of images [B, 3, H, W] and the cross-attention of every level's labels, mean of the heads."""
        network = cast("HlegModel", model)
        output, attention_maps = network.attention_maps(images)
        grid = network.head.grid
        return LevelMaps(output.level_logits, tuple(level.unflatten(-1, grid) for level in attention_maps))

    def label_vectors(self, model: nn.Module) -> Tensor:
        """Rows of the classifier, [L, D]: after training they say more than the queries, which change little."""
        head = cast("HlegModel", model).head
        return head.classifier.weight[: head.sizes[0]]  # fine → coarse
