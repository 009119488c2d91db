"""The `model` section of a recipe for SALGL. No torch here."""

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


class Salgl(LabelAttentionSection):
    """Scene-aware label graph learning: what labels mean for each other depends on the kind of scene."""

    method: Literal["salgl"] = "salgl"
    num_scenes: int = Field(4, ge=1, description="Kinds of scene that are told apart, without being named.")
    scene_assignment: Literal["hard", "soft"] = Field(
        "hard", description="An image counts for its most probable scene, or for all by their probabilities."
    )
    graph_steps: int = Field(3, ge=0, description="Rounds of messages between labels; 0: no graph.")
    two_way_messages: bool = Field(False, description="Labels also hear those that they are a condition of.")
    ignore_self: bool = Field(False, description="No message from a label to itself.")
    normalize_graph: bool = Field(False, description="Let the weights of the messages to a label sum to 1.")
    sample_entropy_weight: float = Field(1.0, ge=0, description="Weight of the term that makes scenes sure.")
    batch_entropy_weight: float = Field(1.0, ge=0, description="Weight of the term that makes all scenes be used.")
    count_before_reading: bool = Field(
        True, description="Training images are counted before their own graph is read, as published."
    )
    detach_cooccurrence: bool = Field(
        True,
        description="No gradient through the counts; false lets the soft counts of a single process have one, as "
        "published (several processes never have).",
    )
    cooccurrence_decay: float = Field(1.0, gt=0, le=1, description="Share of the counts kept per training step.")
    average_cooccurrence: bool = Field(
        True, description="The averaged weights average the counts too, as published; false copies them."
    )

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

    def cooccurrence(self, model: nn.Module) -> Tensor:
        """How often labels were seen together in each scene, [S, L, L]."""
        raise NotImplementedError

    def copied_by_average(self) -> tuple[str, ...]:
        """The counts, unless they are averaged."""
        return () if self.average_cooccurrence else ("head.cooccurrence.counts",)
