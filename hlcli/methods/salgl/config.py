"""The `model` section of a recipe for SALGL. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field

from hlcli.methods.base import Criterion
from hlcli.methods.label_attention import LabelAttentionSection

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.backbones import GridBackbone
    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.salgl.model import Salgl as SalglModel
    from hlcli.methods.salgl.model import SalglHead


class Salgl(LabelAttentionSection):
    """Scene-aware label graph learning: what labels mean for each other depends on the kind of scene."""

    text_variant: ClassVar[str] = "salgl"

    method: Literal["salgl"] = "salgl"
    num_scenes: int = Field(4, ge=1, le=1024, description="Kinds of scene that are told apart, without being named.")
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
    cooccurrence_decay: float = Field(
        1.0, gt=0, le=1, description="Share of the counts kept with each batch that is counted; 1 forgets nothing."
    )
    average_cooccurrence: bool = Field(
        True, description="The averaged weights average the counts too, as published; false copies them."
    )

    def build(self, backbone: GridBackbone, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that backbone and label space.

        Raises:
            RecipeError: when encoder heads, positions or label embeddings do not fit.
            DataError: when the label embeddings are missing, or of other labels.
        """
        from hlcli.methods.salgl.model import Salgl as SalglModel

        head = self.build_head(
            labels,
            num_features=backbone.num_features,
            grid=backbone.grid,
            class_tokens=backbone.class_tokens,
            data_folder=data_folder,
        )
        return SalglModel(backbone, head)

    def build_head(
        self,
        labels: LabelSpace,
        *,
        num_features: int,
        grid: tuple[int, int],
        class_tokens: int = 0,
        data_folder: Path | None = None,
    ) -> SalglHead:
        """Everything after tokens of that width: class tokens, then the cells of the grid."""
        import torch

        from hlcli.layers.graph import GatedGraph
        from hlcli.methods.salgl.cooccurrence import Cooccurrence
        from hlcli.methods.salgl.model import SalglHead

        width = self.embedding_dim(num_features)
        if self.label_embeddings == "random":
            label_embeddings: Tensor = torch.nn.Parameter(torch.randn(labels.num_labels, width))
        else:
            label_embeddings = self.read_embeddings(labels, width, data_folder)
        cooccurrence = Cooccurrence(
            num_scenes=self.num_scenes,
            num_labels=labels.num_labels,
            is_soft=self.scene_assignment == "soft",
            ignore_self=self.ignore_self,
            normalize=self.normalize_graph,
            decay=self.cooccurrence_decay,
            is_detached=self.detach_cooccurrence,
        )
        parts = self.build_parts(
            labels, label_embeddings, num_features=num_features, grid=grid, class_tokens=class_tokens
        )
        graph = GatedGraph(num_features, self.graph_steps, two_way=self.two_way_messages)
        return SalglHead(parts, graph, cooccurrence, dim=num_features, count_before_reading=self.count_before_reading)

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """The published code's state under our names, complete for `model`."""
        from hlcli.methods.reference_names import complete
        from hlcli.methods.salgl.convert import from_reference

        return complete(from_reference(state, cast("SalglModel", model)), model)

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the published code's names, such that its strict loader takes it."""
        from hlcli.methods.salgl.convert import to_reference

        return to_reference(state, cast("SalglModel", model))

    def training_losses(
        self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int
    ) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is trained."""
        from hlcli.methods.salgl.objective import training_losses

        return training_losses(
            model,
            batch,
            criterion,
            epoch=epoch,
            loss_scale=self.scale_of(criterion),
            sample_entropy_weight=self.sample_entropy_weight,
            batch_entropy_weight=self.batch_entropy_weight,
        )

    def label_vectors(self, model: nn.Module) -> Tensor:
        """Rows of the classifier, [L, D]."""
        return cast("SalglModel", model).head.classifier.weight

    def cooccurrence(self, model: nn.Module) -> Tensor:
        """How often labels were seen together in each scene, [S, L, L]."""
        network = cast("SalglModel", getattr(model, "module", model))
        return network.head.cooccurrence.counts

    def for_export(self, model: nn.Module) -> nn.Module:
        """The network with the graphs of its scenes in place of the counts."""
        network = cast("SalglModel", model)
        network.head.cooccurrence.fix()
        return network

    def copied_by_average(self) -> tuple[str, ...]:
        """The counts, unless they are averaged."""
        return () if self.average_cooccurrence else ("head.cooccurrence.counts",)
