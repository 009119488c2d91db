"""The `model` section of a recipe for HSPNet. No torch here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from pydantic import Field, model_validator

from hlcli.embeddings.texts import PREPARED_GRAPH, label_words
from hlcli.errors import CheckpointError, InputError, RecipeError, named, nearest
from hlcli.methods.base import Criterion, MethodSection

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.clip import ClipTowers
    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch
    from hlcli.methods.hspnet.model import Hspnet as HspnetModel

logger = logging.getLogger(__name__)


class Hspnet(MethodSection):
    """Hierarchical prompts for CLIP: what a parent means becomes the context of each label's own text."""

    backbone_kind: ClassVar[Literal["grid", "clip"]] = "clip"
    published_weights: ClassVar[Literal["regular", "ema", "bare"]] = "bare"
    published_needs_files: ClassVar[bool] = True

    method: Literal["hspnet"] = "hspnet"
    n_ctx: int = Field(4, ge=1, le=64, description="Words of learnt context in front of every label's name.")
    gcn_hidden: int | None = Field(
        None, ge=1, le=65536, description="Hidden width of the graph convolution; null: twice CLIP's width."
    )
    gamma: float = Field(0.9, ge=0, le=1, description="Share of a label's text that comes from the graph, at first.")
    graph: Literal["prepared", "clip"] | Path = Field(
        "prepared",
        description="How labels relate: `prepared`, what `hlcli embed graph` wrote into the data set's folder; `clip`, "
        "cosines of their texts by the text encoder, at the start; or a file (safetensors with names, or the paper's "
        ".npy).",
    )
    reweight_p: float = Field(0.2, ge=0, le=1, description="What a label takes from its neighbours in the graph.")
    keep_share: float = Field(0.75, gt=0, le=1, description="Share of the labels that can be neighbours of a label.")
    logit_factor: float = Field(10.0, gt=0, description="Largest logit; cosines are multiplied by it.")
    label_texts: dict[str, str] = Field(
        {}, description="Words for labels and parents whose names are not to be read as they are, `name: words`."
    )
    gcn_lr_factor: float = Field(5.0, gt=0, description="Learning rate of the graph convolution, times optim.lr.")
    meta_lr_factor: float = Field(1.0, gt=0, description="Learning rate of the net that makes contexts, likewise.")
    batch_norm_eval_epochs: int = Field(
        1, ge=0, description="First epochs with the image encoder's batch norms in evaluation mode."
    )
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="The loss is a sum over images and labels, as published, or their mean."
    )

    @model_validator(mode="after")
    def _check_graph(self) -> Hspnet:
        if isinstance(self.graph, Path) and self.graph.suffix not in (".safetensors", ".npy"):
            raise ValueError(f"graph must be prepared, clip, or a file: *.safetensors or *.npy (got '{self.graph}')")
        return self

    def build(self, backbone: ClipTowers, labels: LabelSpace, *, data_folder: Path | None = None) -> nn.Module:
        """The network for that CLIP model and label space.

        Raises:
            RecipeError: when `label_texts` names no label, or a text is too long.
            DataError: when the label graph is missing, or of other labels.
        """
        from hlcli.embeddings.graphs import parents_of

        parents, parent_index = parents_of(labels)
        texts = self._texts([*labels.label_names, *parents])
        children, above = texts[: labels.num_labels], texts[labels.num_labels :]
        blocks = self._relations(backbone, labels, texts, data_folder)
        return self.build_network(backbone, children, above, parent_index, blocks)

    def build_network(
        self,
        backbone: ClipTowers,
        children: Sequence[str],
        parents: Sequence[str],
        parent_index: Sequence[int],
        relations: Sequence[Tensor],
    ) -> HspnetModel:
        """The network for labels of that wording.

        Args:
            backbone: the CLIP model.
            children: what is read for every label.
            parents: what is read for every parent.
            parent_index: the parent of every label.
            relations: how children relate, [L, L], and how parents do, [P, P].
        """
        from hlcli.methods.hspnet.model import Hspnet as HspnetModel
        from hlcli.methods.hspnet.prompts import make_prompts
        from hlcli.methods.hspnet.relation import label_adjacency

        prompts = make_prompts(backbone, children, parents, parent_index, num_context_tokens=self.n_ctx)
        adjacency = [
            label_adjacency(block, reweight_p=self.reweight_p, keep_share=self.keep_share) for block in relations
        ]
        return HspnetModel(
            backbone,
            prompts,
            adjacency=(adjacency[0], adjacency[1]),
            gcn_hidden=self.gcn_hidden or 2 * backbone.embed_dim,
            gamma=self.gamma,
            logit_factor=self.logit_factor,
        )

    def _texts(self, names: list[str]) -> tuple[str, ...]:
        """What is read for every name.

        Raises:
            RecipeError: when `label_texts` has a name that no label and no parent bears, or a text is a bare number
                or empty.
        """
        unknown = next((name for name in self.label_texts if name not in names), None)
        if unknown is not None:
            near = nearest(unknown, names)
            raise RecipeError(
                f"model.label_texts: {unknown!r} is neither a label nor a parent.",
                f"Did you mean {near[0]!r}?" if near else "Write `name: words`.",
            )
        try:
            return label_words([self.label_texts.get(name, name) for name in names])
        except InputError as error:
            hint = "Write words for them: model.label_texts, `'0': dog`."
            raise RecipeError(f"model.label_texts: {error.message}", hint) from error

    def _relations(
        self, towers: ClipTowers, labels: LabelSpace, texts: Sequence[str], data_folder: Path | None
    ) -> tuple[Tensor, Tensor]:
        """How children and how parents relate, [L, L] and [P, P]; nothing relates where all weights follow anyway."""
        import torch

        from hlcli.embeddings.graphs import read_label_graph

        count = labels.num_labels
        if data_folder is None:
            relation = torch.eye(len(texts))
        elif self.graph == "clip":
            from hlcli.methods.hspnet.prompts import text_cosines

            relation = text_cosines(towers, texts)
        else:
            relation = read_label_graph(self._graph_path(data_folder), labels)
        children, parents = relation[:count, :count], relation[count:, count:]
        if not relation.is_meta:  # a plan has no numbers
            self._warn_of_cancelling(children, texts[:count], "labels")
            self._warn_of_cancelling(parents, texts[count:], "parents")
        return children, parents

    def _warn_of_cancelling(self, relation: Tensor, names: Sequence[str], kind: str) -> None:
        """Name what has neighbours in [n, n] whose weights mean little."""
        from hlcli.methods.hspnet.relation import cancelling_rows

        found = [names[row] for row in cancelling_rows(relation, keep_share=self.keep_share)]
        if found:
            logger.warning(
                "model.graph: the neighbours of %d of %d %s have cosines that are negative or nearly cancel (%s): "
                "their weights, shares of the sum, are huge or none. A trained CLIP model gives positive ones alone.",
                len(found), len(names), kind, named(found),
            )  # fmt: skip

    def _graph_path(self, data_folder: Path) -> Path:
        return data_folder / PREPARED_GRAPH if self.graph == "prepared" else Path(self.graph)

    def label_vectors(self, model: nn.Module) -> Tensor:
        """The labels' texts as they are compared with the image, [L, D]."""
        return cast("HspnetModel", model).label_features()

    def for_export(self, model: nn.Module) -> nn.Module:
        """The network without its text side."""
        from hlcli.methods.hspnet.model import FixedLabels

        return FixedLabels(cast("HspnetModel", model))

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """The published code's state under our names, complete for `model`, whose graph it takes.

        Raises:
            CheckpointError: when it does not fit, or when `graph` is `clip`: a checkpoint lacks the token table.
        """
        from hlcli.methods.hspnet.convert import COMPUTED, from_reference
        from hlcli.methods.reference_names import complete

        if self.graph == "clip":
            raise CheckpointError(
                "A published checkpoint of HSPNet holds neither its label graph nor what model.graph=clip computes it "
                "from.",
                "Give the graph it was trained with: model.graph=FILE.npy, or `prepared` after `hlcli embed graph`.",
            )
        return complete(from_reference(state, cast("HspnetModel", model)), model, COMPUTED)

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the published code's names, such that its strict loader takes it."""
        from hlcli.methods.hspnet.convert import to_reference

        return to_reference(state, cast("HspnetModel", model))

    def left_out_upstream(self, model: nn.Module) -> tuple[str, ...]:
        """The graph, which the published program reads from a file."""
        return ("the label graph",)

    def training_losses(
        self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int
    ) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is trained."""
        from hlcli.methods.hspnet.objective import training_losses

        return training_losses(model, batch, criterion, epoch=epoch, reduction=self.reduction)

    def check_files(self, labels: LabelSpace, data_folder: Path) -> None:
        """Refuse a given label graph that is of other labels."""
        from hlcli.embeddings.graphs import read_label_graph

        if self.graph != "clip":
            read_label_graph(self._graph_path(data_folder), labels)

    def describe_files(self, data_folder: Path) -> dict[str, str]:
        """Where a given label graph comes from: file, sum, encoder and its settings."""
        from hlcli.embeddings.graphs import describe_label_graph

        if self.graph == "clip":
            return {}
        return {"label_graph": describe_label_graph(self._graph_path(data_folder))}

    def lr_factors(self) -> dict[str, float]:
        """Graph convolution and meta net have learning rates of their own."""
        return {"gcn.": self.gcn_lr_factor, "meta_net.": self.meta_lr_factor}

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        """Keep the image encoder's batch norms in evaluation mode during the first epochs."""
        from torch.nn.modules.batchnorm import _BatchNorm

        if epoch < self.batch_norm_eval_epochs:
            for part in cast("HspnetModel", model).backbone.modules():
                if isinstance(part, _BatchNorm):
                    part.eval()
