"""The `model` section of a recipe for HIN. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hlcli.methods.base import MethodSection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from hlcli.backbones import GridBackbone
    from hlcli.captioning.vocabulary import Vocabulary
    from hlcli.data.section import DataSection


class Hin(MethodSection):
    """Hierarchical interaction network: grid and region features, six levels of memory, gated decoder."""

    task: ClassVar[Literal["labels", "captions"]] = "captions"
    default_metric: ClassVar[str] = "CIDEr"
    backbone_kind: ClassVar[Literal["grid", "clip", "any"]] = "any"
    published_weights: ClassVar[Literal["regular", "ema", "bare"]] = "regular"

    method: Literal["hin"] = "hin"
    dim: int = Field(512, ge=2, description="Width of the network.")
    num_heads: int = Field(8, ge=1, description="Heads of every attention.")
    key_width: int = Field(64, ge=1, description="Width of queries and keys of one head.")
    value_width: int = Field(64, ge=1, description="Width of values of one head.")
    feed_forward: int = Field(2048, ge=1, description="Hidden width of feed-forward layers.")
    encoder_layers: int = Field(3, ge=1, description="Layers of the encoder; each gives a level of memory.")
    decoder_layers: int = Field(3, ge=1, description="Layers of the decoder, at most encoder_layers.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout after attention and feed-forward layers.")
    max_length: int = Field(54, ge=3, description="Longest caption in tokens, begin and end marks counted.")
    positional: Literal["random", "sinusoid"] = Field(
        "random", description="Fixed table of positions: random as the reference has it, or sines."
    )
    window_scales: tuple[int, ...] = Field(
        (1, 2, 3, 6), min_length=1, description="Regions without a file of them: windows, so many along each side."
    )
    train_backbone: bool = Field(False, description="Train the image encoder too; false keeps it as it is.")
    grid_width: int | None = Field(None, ge=1, description="Width of grid features; null finds it in the data.")
    region_width: int | None = Field(None, ge=1, description="Width of region features; null finds it in the data.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.decoder_layers > self.encoder_layers:
            raise ValueError(
                f"decoder_layers must be at most encoder_layers, {self.encoder_layers} (got {self.decoder_layers}): "
                "each decoder layer reads a level of the encoder's memory"
            )
        if any(scale < 1 for scale in self.window_scales):
            raise ValueError(f"window_scales must be at least 1 (got {list(self.window_scales)})")
        return self

    def completed(self, data: DataSection) -> Self:
        """With the widths of stored features, where files give them."""
        from hlcli.features import FeatureFile

        found: dict[str, int] = {}
        if self.grid_width is None and data.grid_features is not None:
            found["grid_width"] = FeatureFile(data.grid_features, "grid").width
        if self.region_width is None and data.region_features is not None:
            found["region_width"] = FeatureFile(data.region_features, "region").width
        return self.model_copy(update=found) if found else self

    def most_words(self) -> int:
        """`max_length` without the two marks."""
        return self.max_length - 2

    def needs_backbone(self, data: DataSection) -> bool:
        """Whether grid features come from images."""
        return data.grid_features is None

    def build(self, backbone: GridBackbone | None, outputs: Any, *, data_folder: Path | None = None) -> nn.Module:
        """The network, for a vocabulary as `outputs`; without a backbone it takes stored features."""
        from hlcli.methods.hin.captioner import Captioner
        from hlcli.methods.hin.model import Hin as HinModel
        from hlcli.region_windows import WindowPool, window_boxes

        vocabulary: Vocabulary = outputs
        grid_width = self.grid_width if backbone is None else backbone.num_features
        windows = None
        if self.region_width is None and backbone is not None:
            windows = WindowPool(backbone.grid, window_boxes(self.window_scales))
        region_width = self.region_width or grid_width
        assert grid_width is not None, "a captioner without a backbone knows the width of its features"
        assert region_width is not None
        network = HinModel(
            vocabulary_size=len(vocabulary),
            grid_width=grid_width,
            region_width=region_width,
            dim=self.dim,
            num_heads=self.num_heads,
            key_width=self.key_width,
            value_width=self.value_width,
            feed_forward=self.feed_forward,
            encoder_layers=self.encoder_layers,
            decoder_layers=self.decoder_layers,
            dropout=self.dropout,
            max_length=self.max_length,
            positional=self.positional,
        )
        return Captioner(network, backbone, windows, train_backbone=self.train_backbone)

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """A state of the reference implementation under our names.

        Raises:
            CheckpointError: when it does not fit.
        """
        from hlcli.methods.hin.convert import from_upstream

        converted = from_upstream(state)
        own = model.state_dict()
        others = {name: value for name, value in own.items() if not name.startswith("network.")}
        return {**others, **{f"network.{name}": value for name, value in converted.items()}}

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the reference implementation's names; a trained backbone has no place there."""
        from hlcli.methods.hin.convert import to_upstream

        network = {n.removeprefix("network."): value for n, value in state.items() if n.startswith("network.")}
        return to_upstream(network)
