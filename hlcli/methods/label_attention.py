"""What the sections of SALGL and SGRE share: encoder, label embeddings, label attention. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, cast

from pydantic import Field, model_validator

from hlcli.embeddings.texts import PREPARED_EMBEDDINGS
from hlcli.errors import RecipeError
from hlcli.methods.base import Criterion, LevelMaps, MethodSection, OwnPhotos

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.data.labels import LabelSpace
    from hlcli.layers.transformer import Encoder
    from hlcli.methods.label_head import HeadParts, LabelAttentionHead

BERT_WIDTH = 768


class LabelAttentionSection(MethodSection):
    """Methods whose labels look for themselves in the image: embeddings of label names attend to grid tokens."""

    published_weights: ClassVar[Literal["regular", "ema"]] = "ema"
    own_photos: ClassVar[OwnPhotos | None] = OwnPhotos({"label_embeddings": "random"}, lr=5e-4)

    text_variant: ClassVar[str] = ""
    """How the method's own program feeds label names to BERT: the `--variant` of `hlcli embed labels`."""

    label_embeddings: Literal["random", "prepared"] | Path = Field(
        "random",
        description="Vectors of the labels: trained from random ones; `prepared`, what `hlcli embed labels` wrote "
        "into the data set's folder; or a file (safetensors with names, or the papers' .npy).",
    )
    label_embedding_dim: int | None = Field(
        None, ge=1, description="Their width; null: 768, as BERT's, or what the method takes for random ones."
    )
    attention_dim: int = Field(1024, ge=1, le=65536, description="Width in which labels and tokens are compared.")
    encoder_layers: int = Field(1, ge=0, description="Transformer layers over the grid.")
    num_heads: int = Field(8, ge=1, description="Their attention heads; they share the backbone's width evenly.")
    feedforward_dim: int = Field(2048, ge=1, le=65536, description="Hidden width of their feed-forward steps.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Probability with which they drop a value in training.")
    positions: bool = Field(False, description="Add sine codes of the place to queries and keys of the encoder.")
    loss_scale: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Factor of the mean classification loss; null: 1000 with asymmetric (as published), splc, "
        "focal_margin and hill, 1 with all others (bce: as published).",
    )

    @model_validator(mode="after")
    def _check_embeddings(self) -> LabelAttentionSection:
        given = self.label_embeddings
        if isinstance(given, Path) and given.suffix not in (".safetensors", ".npy"):
            raise ValueError(
                f"label_embeddings must be random, prepared, or a file: *.safetensors or *.npy (got '{given}')"
            )
        return self

    def scale_of(self, criterion: Criterion) -> float:
        """`loss_scale`, or the published one for that loss."""
        if self.loss_scale is not None:
            return self.loss_scale
        return 1000.0 if getattr(criterion, "is_focal", False) else 1.0

    def embedding_dim(self, random_dim: int) -> int:
        """Width of the label embeddings; `random_dim` is the method's own for random ones."""
        return self.label_embedding_dim or (random_dim if self.label_embeddings == "random" else BERT_WIDTH)

    def read_embeddings(self, labels: LabelSpace, width: int, data_folder: Path | None) -> Tensor:
        """Given label embeddings [L, width]; zeros where all weights follow anyway.

        Raises:
            RecipeError: when the file has another width.
            DataError: when it is missing, or of other labels.
        """
        import torch

        from hlcli.embeddings.labels import read_label_embeddings

        if data_folder is None:
            return torch.zeros(labels.num_labels, width)
        path = self._embeddings_path(data_folder)
        vectors = read_label_embeddings(path, labels, variant=self.text_variant)
        if vectors.shape[1] != width:
            raise RecipeError(
                f"model.label_embeddings: the vectors of {path} have width {vectors.shape[1]}, not {width}.",
                f"Set model.label_embedding_dim={vectors.shape[1]}.",
            )
        return vectors

    def check_files(self, labels: LabelSpace, data_folder: Path) -> None:
        """Refuse given label embeddings that are of other labels or of another width."""
        if self.label_embeddings != "random":
            self.read_embeddings(labels, self.embedding_dim(BERT_WIDTH), data_folder)

    def describe_files(self, data_folder: Path) -> dict[str, str]:
        """Where given label embeddings come from: file, sum, encoder and its settings."""
        from hlcli.embeddings.labels import describe_label_embeddings

        if self.label_embeddings == "random":
            return {}
        return {"label_embeddings": describe_label_embeddings(self._embeddings_path(data_folder))}

    def _embeddings_path(self, data_folder: Path) -> Path:
        return data_folder / PREPARED_EMBEDDINGS if self.label_embeddings == "prepared" else Path(self.label_embeddings)

    def level_maps(self, model: nn.Module, images: Tensor) -> LevelMaps:
        """Scores of images [B, 3, H, W] and where each fine label looks, a class token left out."""
        output = model(images)
        head = cast("LabelAttentionHead", model.head)
        return LevelMaps((output.logits,), (head.on_grid(output.attention_maps),))

    def build_parts(
        self,
        labels: LabelSpace,
        label_embeddings: Tensor,
        *,
        num_features: int,
        grid: tuple[int, int],
        class_tokens: int,
        pre_norm: bool = False,
    ) -> HeadParts:
        """What every head begins with, for tokens of that width and number.

        Raises:
            RecipeError: when heads or positions do not fit the width.
        """
        from hlcli.layers.label_attention import LabelAttention
        from hlcli.methods.label_head import HeadParts

        return HeadParts(
            self.build_encoder(num_features, pre_norm=pre_norm),
            LabelAttention(num_features, label_embeddings.shape[1], self.attention_dim),
            label_embeddings,
            self.build_position(num_features, grid, class_tokens),
            grid,
            class_tokens,
        )

    def build_encoder(self, dim: int, *, pre_norm: bool = False) -> Encoder:
        """The transformer over grid tokens of width `dim`, with torch's own first weights and no final norm.

        Raises:
            RecipeError: when the heads cannot share the width.
        """
        from hlcli.layers.transformer import Encoder, EncoderLayer

        if self.encoder_layers and dim % self.num_heads:
            raise RecipeError(
                f"model.num_heads: {self.num_heads} heads cannot share the backbone's {dim} features evenly.",
                f"Choose a divisor of {dim}.",
            )
        layers = [
            EncoderLayer(dim, self.num_heads, self.feedforward_dim, self.dropout, pre_norm=pre_norm, xavier=False)
            for _ in range(self.encoder_layers)
        ]
        return Encoder(layers, dim, final_norm=False)

    def build_position(self, num_features: int, grid: tuple[int, int], class_tokens: int) -> Tensor | None:
        """Sine codes [class tokens + N, D] of a backbone's tokens, or None.

        Raises:
            RecipeError: when the width is no multiple of 4.
        """
        from hlcli.layers.position import sine_position

        if not self.positions:
            return None
        if num_features % 4:
            raise RecipeError(
                f"model.positions: sine codes need a width that is a multiple of 4; the backbone has {num_features}.",
                "Set model.positions=false.",
            )
        return sine_position(*grid, num_features, class_tokens=class_tokens)
