"""What a method's section offers to the loop; a method is a folder with `config.py`, `model.py`, `objective.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

from hlcli.errors import CheckpointError, RecipeError
from hlcli.sections import Section

if TYPE_CHECKING:
    from torch import Tensor, nn

    from hlcli.data.labels import LabelSpace
    from hlcli.data.loader import LabelBatch
    from hlcli.data.section import DataSection


class Criterion(Protocol):
    """A multi-label loss per image and label, not yet summed or averaged; those of recipes are `losses.base.Loss`."""

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        *,
        epoch: int = 0,
        rows: Tensor | None = None,
        ignore: Tensor | None = None,
    ) -> Tensor:
        """Loss [B, L] of logits [B, L] against targets [B, L].

        Args:
            logits: scores before the sigmoid.
            targets: 1 for a positive that was observed, 0 for a negative or an unobserved label.
            epoch: counted from 0.
            rows: [B], the images' places in the training split, for losses that remember something of each; None in
                evaluation and on coarse levels.
            ignore: [B, L] bool, entries whose loss will not count, for losses that look at all labels of a batch at
                once.
        """


class LevelMaps(NamedTuple):
    """What a network finds in images, and where, coarse → fine: on every level, or on the finest one alone."""

    level_logits: tuple[Tensor, ...]  # [B, L of the level] each
    attention_maps: tuple[Tensor, ...]  # [B, L of the level, h, w] each


class OwnPhotos(NamedTuple):
    """How a method begins to learn a person's own photos.

    Args:
        settings: keys of its section whose defaults, which fit large data sets, do not fit these.
        lr: learning rate of the new layers.
    """

    settings: Mapping[str, Any]
    lr: float


class MethodSection(Section):
    """The `model` section of a recipe; knows how to build its network and its loss terms."""

    task: ClassVar[Literal["labels", "captions"]] = "labels"
    default_metric: ClassVar[str] = "F1_samples"
    """What chooses the best model unless the recipe says it."""
    backbone_kind: ClassVar[Literal["grid", "clip", "any"]] = "grid"
    """What `build` gets: a `GridBackbone`, the `ClipTowers` of a CLIP model, or the grid of any of them."""
    needs_training: ClassVar[bool] = True
    maps_every_level: ClassVar[bool] = False
    """Whether `level_maps` has maps of all levels, not of the finest alone."""
    published_weights: ClassVar[Literal["regular", "ema", "bare"]] = "regular"
    """What a reference's checkpoint holds: training state with the trained weights under `state_dict`; nothing but
    the averaged weights, each name with `module.` in front; or nothing but the better of both, bare."""
    unwrapped_weights: ClassVar[Literal["regular", "ema"]] = "regular"
    """What training state holds if its names lack `module.`; the average where only the trained network is wrapped."""
    published_backbone: ClassVar[bool] = True
    """Whether a reference's checkpoint holds the image encoder too; otherwise it is the recipe's own."""
    published_needs_files: ClassVar[bool] = False
    """Whether a reference's checkpoint lacks what comes from the data set's folder (label embeddings)."""

    own_photos: ClassVar[OwnPhotos | None] = None
    """What `hlcli init` writes into a recipe; None where photos and their labels are not enough to train it."""

    @property
    def name(self) -> str:
        """The method's name, as in `model.method`."""
        return str(type(self).model_fields["method"].default)

    @classmethod
    def offers(cls, what: Literal["level_maps", "cooccurrence"]) -> bool:
        """Whether models of the method have what only some have."""
        return getattr(cls, what) is not getattr(MethodSection, what)

    def check_trainable(self) -> None:
        """Refuse to train a method that is used as it is.

        Raises:
            RecipeError: saying what to do instead.
        """
        if not self.needs_training:
            raise RecipeError(
                f"model.method: {self.name} is used without training; there is nothing to train.",
                "Measure it: hlcli eval --recipe FILE.",
            )

    def completed(self, data: DataSection) -> Self:
        """The section with what only the data's files tell; said once, when a training begins."""
        return self

    def most_words(self) -> int:
        """Words of the longest caption that the network reads; only of methods that learn captions."""
        raise NotImplementedError

    def needs_backbone(self, data: DataSection) -> bool:
        """Whether `build` gets an image encoder."""
        return True

    def build(self, backbone: Any, outputs: Any, *, data_folder: Path | None) -> nn.Module:
        """The network. Its `forward(images)` returns a NamedTuple with `logits` [B, L] of the fine labels, with
        `level_logits` (coarse → fine) if a method scores every level, and `scene_probs` [B, S] if it tells scenes.

        Args:
            backbone: images to grid features, or both towers of a CLIP model: see `backbone_kind`.
            outputs: the label space, or the vocabulary of a method that learns captions.
            data_folder: where the data set's own files lie (label embeddings…); None where all weights follow, so
                that no file is read.
        """
        raise NotImplementedError

    def from_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """A reference implementation's state under our names, complete for `model`.

        Raises:
            CheckpointError: when it does not fit, or the method has no reference implementation.
        """
        raise CheckpointError(f"There are no published checkpoints of method {self.name}.")

    def to_upstream(self, state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Our state under the reference implementation's names.

        Raises:
            CheckpointError: when the method has no reference implementation.
        """
        raise CheckpointError(f"There is no other program that reads models of method {self.name}.")

    def left_out_upstream(self, model: nn.Module) -> tuple[str, ...]:
        """Parts of the network, in words, that `to_upstream` has no place for: they come from files there."""
        return ()

    def training_losses(
        self, model: nn.Module, batch: LabelBatch, criterion: Criterion, *, epoch: int
    ) -> dict[str, Tensor]:
        """Named scalar terms, already weighted; their sum is trained.

        Unless a method says it otherwise: the loss of `logits` as the one term, summed over labels.
        """
        from hlcli.losses.masking import label_losses

        logits = model(batch.images).logits
        losses = label_losses(criterion, logits, batch.targets, ignore=batch.ignore, epoch=epoch, rows=batch.rows)
        return {"classification": self.scale_of(criterion) * losses.sum(dim=1).mean()}

    def scale_of(self, criterion: Criterion) -> float:
        """Factor of the classification loss."""
        return 1.0

    def level_maps(self, model: nn.Module, images: Tensor) -> LevelMaps | None:
        """Scores of images [B, 3, H, W] and where each label looks; None for methods without a map per label."""
        return None

    def image_encoder(self, model: nn.Module) -> nn.Module:
        """The part of the network that makes a grid [B, N, D] of images, or a vector [B, D] of each."""
        return model.get_submodule("backbone")

    def label_vectors(self, model: nn.Module) -> Tensor | None:
        """What fine labels are scored with, whatever the image, [L, D]; None for methods that have no such vectors.

        Rows of the last layer, or the features of the labels' texts.
        """
        return None

    def cooccurrence(self, model: nn.Module) -> Tensor | None:
        """How often labels were seen together in each scene, [S, L, L]; None for methods without scenes."""
        return None

    def for_export(self, model: nn.Module) -> nn.Module:
        """The network for a file that other programs run: what no image changes is computed now. May change `model`."""
        return model

    def check_files(self, labels: LabelSpace, data_folder: Path) -> None:
        """Refuse, without building the network, files that `build` would refuse for these labels.

        Raises:
            InputError: when one is missing (by a `FileNotFoundError`), damaged, of other labels or of another width.
        """

    def describe_files(self, data_folder: Path) -> dict[str, str]:
        """What `build` reads besides the backbone's weights, in words, for the run's `environment.json`."""
        return {}

    def lr_factors(self) -> dict[str, float]:
        """Learning rates of parts of the network as shares of `optim.lr`, by the beginning of parameter names."""
        return {}

    def start_epoch(self, model: nn.Module, epoch: int) -> None:
        """Prepare the network for an epoch, after it was set to training mode."""

    def copied_by_average(self) -> tuple[str, ...]:
        """Names of buffers that the averaged model takes from the trained one as they are."""
        return ()
