"""The `model` section of a recipe for HIN. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hlcli.methods.base import OwnPhotos
from hlcli.methods.captions import CaptionMethod

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from hlcli.methods.hin.model import Hin as HinModel


class Hin(CaptionMethod):
    """Hierarchical interaction network: grid and region features, levels of memory, gated decoder."""

    own_photos: ClassVar[OwnPhotos | None] = OwnPhotos(
        {"dim": 256, "feed_forward": 1024, "encoder_layers": 2, "decoder_layers": 2}, lr=3e-4
    )

    method: Literal["hin"] = "hin"
    dim: int = Field(512, ge=2, description="Width of the network.")
    num_heads: int = Field(8, ge=1, description="Heads of every attention.")
    key_width: int = Field(64, ge=1, description="Width of queries and keys of one head.")
    value_width: int = Field(64, ge=1, description="Width of values of one head.")
    feed_forward: int = Field(2048, ge=1, description="Hidden width of feed-forward layers.")
    encoder_layers: int = Field(3, ge=1, description="Layers of the encoder; each gives a level of memory.")
    decoder_layers: int = Field(3, ge=1, description="Layers of the decoder, at most encoder_layers.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout after attention and feed-forward layers.")
    positional: Literal["random", "sinusoid"] = Field(
        "random", description="Fixed table of positions: random as the reference has it, or sines."
    )

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        if self.decoder_layers > self.encoder_layers:
            raise ValueError(
                f"decoder_layers must be at most encoder_layers, {self.encoder_layers} (got {self.decoder_layers}): "
                "each decoder layer reads a level of the encoder's memory"
            )
        return self

    def build_network(self, vocabulary_size: int, grid_width: int, region_width: int) -> HinModel:
        """HIN for so many words and features so wide."""
        from hlcli.methods.hin.layers import Widths
        from hlcli.methods.hin.model import Hin as HinModel

        return HinModel(
            vocabulary_size=vocabulary_size,
            grid_width=grid_width,
            region_width=region_width,
            widths=Widths(**{name: getattr(self, name) for name in Widths._fields}),
            encoder_layers=self.encoder_layers,
            decoder_layers=self.decoder_layers,
            max_length=self.max_length,
            positional=self.positional,
        )

    def network_from_upstream(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state of the reference implementation under our names.

        Raises:
            CheckpointError: when it does not fit.
        """
        from hlcli.methods.hin.convert import from_upstream

        return from_upstream(state)

    def network_to_upstream(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Our state under the reference's names."""
        from hlcli.methods.hin.convert import to_upstream

        return to_upstream(state)
