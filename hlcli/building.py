"""Recipe sections → objects: the one place where a whole recipe meets networks and transforms."""

from __future__ import annotations

from typing import Any

from torch import nn

from hlcli.backbones import build_backbone
from hlcli.data.labels import LabelSpace
from hlcli.data.transforms import EvalTransform, Normalize, TrainTransform
from hlcli.errors import RecipeError
from hlcli.recipe import Recipe
from hlcli.sections import DataSection


def build_model(
    recipe: Recipe, labels: LabelSpace, *, initial_weights: bool = True, data_files: bool | None = None
) -> nn.Module:
    """The recipe's network for a label space.

    Args:
        recipe: a valid recipe.
        labels: the data set's labels.
        initial_weights: load the backbone's published or local weights; False where all weights follow anyway.
        data_files: read what belongs to the data set and not to a checkpoint of others, such as label embeddings;
            None: as `initial_weights`.

    Raises:
        RecipeError: when it is too large for the memory of this machine.
    """
    try:
        return _build(recipe, labels, initial_weights, data_files)
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and "memory" not in text and "overflow" not in text:
            raise
        raise RecipeError(
            f"The network does not fit into memory: {text or type(error).__name__}.", "Set smaller widths in model."
        ) from error


def _build(recipe: Recipe, labels: LabelSpace, initial_weights: bool, data_files: bool | None) -> nn.Module:
    reads_files = initial_weights if data_files is None else data_files
    section, image_size = recipe.backbone, recipe.data.height_width
    pretrained, weights = section.pretrained and initial_weights, section.weights if initial_weights else None
    backbone: Any
    if recipe.model.backbone_kind == "clip":
        from hlcli.clip import build_clip

        backbone = build_clip(section.name, image_size, pretrained=pretrained, weights=weights, frozen=section.frozen)
    else:
        backbone = build_backbone(
            section.name,
            image_size,
            pretrained=pretrained,
            weights=weights,
            stage=section.stage,
            freeze_batch_norm=section.freeze_batch_norm,
            frozen=section.frozen,
            class_token=section.class_token,
            position_antialias=section.position_antialias,
        )
    return recipe.model.build(backbone, labels, data_folder=recipe.data.folder() if reads_files else None)


def self_contained(recipe: Recipe) -> Recipe:
    """The recipe with a CLIP model's own configuration file in the place of its name: files move and change.

    Raises:
        RecipeError: when the file cannot be read.
    """
    if not recipe.backbone.name.startswith("clip:"):
        return recipe
    from hlcli.clip_models import inline_clip_name

    name = inline_clip_name(recipe.backbone.name)
    return recipe.model_copy(update={"backbone": recipe.backbone.model_copy(update={"name": name})})


def train_transform(data: DataSection) -> TrainTransform:
    """The augmentation that a data section describes."""
    return TrainTransform(
        data.height_width,
        horizontal_flip=data.horizontal_flip,
        random_shift=data.random_shift,
        num_cutouts=data.cutout,
        cutout_length=data.cutout_length,
        cutout_fraction=data.cutout_fraction,
        randaugment=data.randaugment,
        resize=data.resize,
    )


def eval_transform(data: DataSection) -> EvalTransform:
    """Resizing only."""
    return EvalTransform(data.height_width, data.resize)


def normalize(data: DataSection) -> Normalize:
    """Bytes to standardised floats, on the device."""
    return Normalize.named(data.normalization)
