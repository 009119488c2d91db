"""What the `model` sections of methods that learn captions share. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hlcli.methods.base import MethodSection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from hlcli.captioning.captioner import CaptionNetwork
    from hlcli.captioning.vocabulary import Vocabulary
    from hlcli.data.section import DataSection

_NETWORK = "network."
"""Where a captioner keeps the network behind the image encoder."""


class CaptionMethod(MethodSection):
    """A method that reads grid and region features, stored ones or those of an image encoder, and says sentences."""

    task: ClassVar[Literal["labels", "captions"]] = "captions"
    default_metric: ClassVar[str] = "CIDEr"
    backbone_kind: ClassVar[Literal["grid", "clip", "any"]] = "any"
    published_backbone: ClassVar[bool] = False

    max_length: int = Field(54, ge=3, description="Longest caption in tokens, begin and end marks counted.")
    window_scales: tuple[int, ...] = Field(
        (1, 2, 3, 6), min_length=1, description="Regions without a file of them: windows, so many along each side."
    )
    train_backbone: bool = Field(False, description="Train the image encoder too; false keeps it as it is.")
    grid_width: int | None = Field(None, ge=1, description="Width of stored grid features; null asks the file.")
    region_width: int | None = Field(None, ge=1, description="Width of stored region features; null asks the file.")

    @model_validator(mode="after")
    def _check_scales(self) -> Self:
        if any(scale < 1 for scale in self.window_scales):
            raise ValueError(f"window_scales must be at least 1 (got {list(self.window_scales)})")
        return self

    def most_words(self) -> int:
        """`max_length` without the two marks."""
        return self.max_length - 2

    def completed(self, data: DataSection) -> Self:
        """With the widths of stored features, where files give them."""
        from hlcli.features.reading import FeatureFile

        found: dict[str, int] = {}
        if self.grid_width is None and data.grid_features is not None:
            found["grid_width"] = FeatureFile(data.grid_features, "grid").width
        if self.region_width is None and data.region_features is not None:
            found["region_width"] = FeatureFile(data.region_features, "region").width
        return self.model_copy(update=found) if found else self

    def needs_backbone(self, data: DataSection) -> bool:
        """Whether grid features come from images."""
        return data.grid_features is None

    def build(self, backbone: Any, outputs: Any, *, data_folder: Path | None = None) -> nn.Module:
        """The network for a vocabulary as `outputs`; without a backbone it takes stored features."""
        from hlcli.captioning.captioner import Captioner
        from hlcli.features.windows import WindowPool, window_boxes

        vocabulary: Vocabulary = outputs
        windows = None
        if self.region_width is None:
            windows = WindowPool(backbone.grid, window_boxes(self.window_scales))
        grid_width = self.grid_width if backbone is None else backbone.num_features
        assert grid_width is not None, "a captioner without a backbone knows the width of its features"
        network = self.build_network(len(vocabulary), grid_width, self.region_width or grid_width)
        return Captioner(network, backbone, windows, train_backbone=self.train_backbone)

    def build_network(self, vocabulary_size: int, grid_width: int, region_width: int) -> CaptionNetwork:
        """What makes captions of features."""
        raise NotImplementedError

    def network_from_upstream(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's part of a reference's state under our names."""
        raise NotImplementedError

    def network_to_upstream(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's state under the reference's names."""
        raise NotImplementedError

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """A state of the reference implementation under our names; an image encoder keeps its own weights.

        Raises:
            CheckpointError: when it does not fit.
        """
        own = {name: value for name, value in model.state_dict().items() if not name.startswith(_NETWORK)}
        return {**own, **{f"{_NETWORK}{name}": value for name, value in self.network_from_upstream(state).items()}}

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the reference implementation's names; an image encoder has no place there."""
        network = {name.removeprefix(_NETWORK): value for name, value in state.items() if name.startswith(_NETWORK)}
        return self.network_to_upstream(network)

    def left_out_upstream(self, model: nn.Module) -> tuple[str, ...]:
        """The image encoder, if there is one."""
        return () if all(name.startswith(_NETWORK) for name in model.state_dict()) else ("the image encoder",)
