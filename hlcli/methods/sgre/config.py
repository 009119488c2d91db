"""The `model` section of a recipe for SGRE. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field

from hlcli.methods.base import Criterion
from hlcli.methods.label_attention import BERT_WIDTH, LabelAttentionSection

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.backbones import GridBackbone
    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.sgre.model import Sgre as SgreModel
    from hlcli.methods.sgre.model import SgreHead


class Sgre(LabelAttentionSection):
    """Semantic-guided representation enhancement: what labels have found is given back to every grid cell."""

    published_needs_files: ClassVar[bool] = True

    text_variant: ClassVar[str] = "sgre"

    method: Literal["sgre"] = "sgre"
    pre_norm: bool = Field(False, description="The encoder normalises before each step instead of after it.")
    temperature: float = Field(1.0, gt=0, description="Divisor of the attention scores: higher spreads the maps.")
    branch_weight: float = Field(
        1.0, ge=0, description="Weight of the loss on the label features themselves (the paper's lambda)."
    )
    classifier_dropout: float = Field(0.5, ge=0, lt=1, description="Dropout inside the classifier of grid cells.")

    def build(self, backbone: GridBackbone, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that backbone and label space."""
        from hlcli.methods.sgre import model

        head = self.build_head(
            labels,
            num_features=backbone.num_features,
            grid=backbone.grid,
            class_tokens=backbone.class_tokens,
            data_folder=data_folder,
        )
        return model.Sgre(backbone, head)

    def build_head(
        self,
        labels: LabelSpace,
        *,
        num_features: int,
        grid: tuple[int, int],
        class_tokens: int = 0,
        data_folder: Path | None = None,
    ) -> SgreHead:
        """Everything after tokens of that width: class tokens, then the cells of the grid.

        Given label embeddings are read only with a `data_folder`; without one they are zeros, to be filled.

        Raises:
            RecipeError: when heads or positions do not fit the width, or embeddings theirs.
            DataError: when the embeddings are missing, or of other labels.
        """
        from hlcli.methods.sgre.model import SgreHead

        parts = self.build_parts(
            labels,
            self._first_embeddings(labels, data_folder),
            num_features=num_features,
            grid=grid,
            class_tokens=class_tokens,
            pre_norm=self.pre_norm,
        )
        return SgreHead(
            parts, dim=num_features, temperature=self.temperature, classifier_dropout=self.classifier_dropout
        )

    def _first_embeddings(self, labels: LabelSpace, data_folder: Path | None) -> Tensor:
        """Label embeddings [L, E]: given ones, or a parameter."""
        import torch
        from torch import nn

        width = self.embedding_dim(BERT_WIDTH)
        if self.label_embeddings != "random":
            return self.read_embeddings(labels, width, data_folder)
        embeddings = nn.Parameter(torch.empty(labels.num_labels, width))
        nn.init.kaiming_uniform_(embeddings, a=5**0.5)  # bounds ± 1 / sqrt(width)
        return embeddings

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """The published code's state under our names, complete for `model`."""
        from hlcli.methods.reference_names import complete
        from hlcli.methods.sgre.convert import POSITION, from_reference

        return complete(from_reference(state, model), model, POSITION[1:])

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the published code's names."""
        from hlcli.methods.sgre.convert import to_reference

        return to_reference(state, model)

    def left_out_upstream(self, model: nn.Module) -> tuple[str, ...]:
        """Given label embeddings, which the published program reads from a file."""
        return () if self.label_embeddings == "random" else ("the label embeddings",)

    def training_losses(
        self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int
    ) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is trained."""
        from hlcli.methods.sgre.objective import training_losses

        return training_losses(
            model, batch, criterion, epoch=epoch, branch_weight=self.branch_weight, loss_scale=self.scale_of(criterion)
        )

    def label_vectors(self, model: nn.Module) -> Tensor:
        """Rows of the last layer of the tokens' classifier, [L, 2 D]."""
        return cast("SgreModel", model).head.classifier.output.weight
