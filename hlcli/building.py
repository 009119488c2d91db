"""Recipe sections → objects: the one place where a whole recipe meets networks and transforms."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from hlcli.data.labels import LabelSpace
from hlcli.data.transforms import EvalTransform, Normalize, TrainTransform
from hlcli.errors import RecipeError
from hlcli.recipe import Recipe
from hlcli.sections import DataSection

if TYPE_CHECKING:
    from hlcli.captioning.vocabulary import Vocabulary

_LARGE = 2**18
"""Numbers of a parameter from which on drawing them takes longer than doing without."""


def build_model(
    recipe: Recipe, outputs: LabelSpace | Vocabulary, *, initial_weights: bool = True, data_files: bool | None = None
) -> nn.Module:
    """The recipe's network for a label space, or for a vocabulary.

    Args:
        recipe: a valid recipe.
        outputs: the data set's labels, or the words of its captions.
        initial_weights: load the backbone's published or local weights; False where all weights follow anyway.
        data_files: read what belongs to the data set and not to a checkpoint of others, such as label embeddings;
            None: as `initial_weights`.

    Raises:
        RecipeError: when it is too large for the memory of this machine.
    """
    try:
        return _build(recipe, outputs, initial_weights, data_files)
    except (RuntimeError, MemoryError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and "memory" not in text and "overflow" not in text:
            raise
        raise RecipeError(
            f"The network does not fit into memory: {text or type(error).__name__}.", "Set smaller widths in model."
        ) from error


def build_for_weights(recipe: Recipe, outputs: LabelSpace | Vocabulary, *, data_files: bool = False) -> nn.Module:
    """The recipe's network for weights that all follow: where possible its large parameters have no numbers yet.

    Buffers are whole, and so are parameters that are made frozen: these hold what a method reads or computes.

    Args:
        recipe: a valid recipe.
        outputs: the data set's labels, or the words of its captions.
        data_files: see `build_model`.

    Raises:
        RecipeError: when the recipe does not fit the outputs.
    """
    try:
        with _without_numbers():
            model = build_model(recipe, outputs, initial_weights=False, data_files=data_files)
        saved = model.state_dict()
        if not any(buffer.is_meta for name, buffer in model.named_buffers() if name not in saved):
            return model
    except (RuntimeError, RecipeError):  # some networks compute with their first numbers; what is wrong is said below
        pass
    return build_model(recipe, outputs, initial_weights=False, data_files=data_files)


@contextmanager
def _without_numbers() -> Iterator[None]:
    """Large parameters that this thread makes go to torch's meta device as soon as a module takes them."""
    thread = threading.get_ident()

    def forget(_: nn.Module, __: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
        if parameter is None or parameter.numel() < _LARGE or not parameter.requires_grad:
            return None  # taken as it is
        if threading.get_ident() != thread:
            return None
        return nn.Parameter(parameter.detach().to("meta"))

    handle = register_module_parameter_registration_hook(forget)  # type: ignore[arg-type]
    try:
        yield
    finally:
        handle.remove()


def _build(
    recipe: Recipe, outputs: LabelSpace | Vocabulary, initial_weights: bool, data_files: bool | None
) -> nn.Module:
    reads_files = initial_weights if data_files is None else data_files
    backbone: Any = None
    if recipe.model.needs_backbone(recipe.data):
        backbone = build_encoder(recipe, initial_weights=initial_weights)
    made_for: Any = outputs  # each method knows which of the two it gets
    return recipe.model.build(backbone, made_for, data_folder=recipe.data.folder() if reads_files else None)


def build_encoder(recipe: Recipe, *, initial_weights: bool = True) -> Any:
    """The recipe's image encoder, of the kind that its method asks for."""
    section, image_size, kind = recipe.backbone, recipe.data.height_width, recipe.model.backbone_kind
    pretrained, weights = section.pretrained and initial_weights, section.weights if initial_weights else None
    if kind != "grid" and section.name.startswith("clip:"):
        from hlcli.clip import build_clip
        from hlcli.clip_grid import ClipGrid

        towers = build_clip(section.name, image_size, pretrained=pretrained, weights=weights, frozen=section.frozen)
        return towers if kind == "clip" else ClipGrid(towers.visual, image_size, name=towers.name)
    from hlcli.backbones import build_backbone  # timm takes seconds; captions from stored features do without

    return build_backbone(
        section.name,
        image_size,
        pretrained=pretrained,
        weights=weights,
        stage=section.stage,
        freeze_batch_norm=section.freeze_batch_norm,
        frozen=section.frozen,
        class_token=section.class_token,
        position_antialias=section.position_antialias,
        gradient_checkpointing=section.gradient_checkpointing,
    )


def self_contained(recipe: Recipe) -> Recipe:
    """The recipe with what would otherwise be found in files again, which move and change: the configuration of a CLIP
    model of one's own in the place of its name, widths of stored features.

    Raises:
        RecipeError: when the file cannot be read.
    """
    recipe = recipe.model_copy(update={"model": recipe.model.completed(recipe.data)})
    if not recipe.backbone.name.startswith("clip:"):
        return recipe
    from hlcli.encoders.clip_models import inline_clip_name

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
        pixels=data.pixels,
    )


def eval_transform(data: DataSection) -> EvalTransform:
    """Resizing only."""
    return EvalTransform(data.height_width, data.resize, data.pixels)


def normalize(data: DataSection) -> Normalize:
    """Bytes to standardised floats, on the device."""
    return Normalize.named(data.normalization)
