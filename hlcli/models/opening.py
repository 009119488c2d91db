"""The `open_model` verb: a trained model, or one that needs no training, under the recipe it is to be used with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from hlcli.building import build_model
from hlcli.errors import InputError, RecipeError
from hlcli.models.folder import LoadedModel, read_model, upstream_labels
from hlcli.models.tasks import check_task
from hlcli.profiling import phase
from hlcli.recipe import Recipe

GivenModel = str | Path | LoadedModel
"""A model: a run folder, a model folder, `hf://owner/name` or an upstream checkpoint; or one that is loaded."""


def open_model(
    model: GivenModel | None,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    *,
    task: Literal["labels", "captions"] | None = None,
) -> LoadedModel:
    """Open a run folder, a model folder or an upstream checkpoint.

    Args:
        model: its place; one that is loaded stays as it is; None stands for a recipe whose method needs no training.
        recipe: what an upstream checkpoint is; for a model of ours the data and the evaluation to use instead.
        overrides: `section.key=value`, changes of the recipe.
        task: refuse models for another one.

    Raises:
        InputError: when the model or the recipe cannot be used; the kind says why.

    Examples:
        >>> loaded = hlcli.open_model("runs/shapes")
        >>> loaded.recipe.model.name, loaded.labels.level_sizes
        ('hleg', (3, 5, 12))
    """
    if recipe is not None and overrides:
        recipe = recipe.changed(overrides)
    if model is None:
        return _open_untrained(recipe)
    with phase("set-up"):
        loaded = model if isinstance(model, LoadedModel) else read_model(model, recipe)
    if recipe is None and overrides:
        name = "the model" if isinstance(model, LoadedModel) else model
        recipe = loaded.recipe.changed(overrides, source=f"recipe of {name}")
        if (recipe.model, recipe.backbone) != (loaded.recipe.model, loaded.recipe.backbone):
            raise InputError(
                f"{name} is trained: its model and backbone are what they are.", "Change data, train or eval settings."
            )
    if task is not None:
        check_task(loaded.recipe.model, task)
    return loaded if recipe is None else _with_recipe(loaded, recipe)


def refuse_beside_predictor(recipe: Recipe | None, overrides: Sequence[str], options: Mapping[str, Any]) -> None:
    """Refuse what a ready predictor has decided already.

    Raises:
        TypeError: naming it.
    """
    given = [*(["recipe"] if recipe is not None else []), *(["overrides"] if overrides else []), *options]
    if given:
        raise TypeError(f"Expected no options beside a predictor, but got {', '.join(given)}.")


def _with_recipe(loaded: LoadedModel, recipe: Recipe) -> LoadedModel:
    """The same network with other settings for data and evaluation; it must be shown images as before.

    Raises:
        RecipeError: naming the setting that differs.
    """
    made_for, asked = loaded.recipe.data, recipe.data
    for key, old, new in (
        ("image_size", made_for.height_width, asked.height_width),
        ("resize", made_for.resize, asked.resize),
        ("normalization", made_for.normalization, asked.normalization),
    ):
        if old != new:
            wanted = str(list(old) if isinstance(old, tuple) else old).replace(" ", "")
            raise RecipeError(
                f"data.{key} is {new}, but the model was trained with {old}.", f"Give --set data.{key}={wanted}."
            )
    if loaded.recipe.model.task == "captions":  # its section knows the widths of stored features
        recipe = recipe.model_copy(update={"model": loaded.recipe.model})
    return loaded._replace(recipe=recipe)


def _open_untrained(recipe: Recipe | None) -> LoadedModel:
    """The model of a recipe whose method needs no training.

    Raises:
        InputError: when the method does, or there is no recipe.
    """
    if recipe is None:
        raise InputError("MODEL is missing.", "Give a run folder, a model folder or a checkpoint.")
    if recipe.model.needs_training:
        raise RecipeError(
            f"MODEL is missing: method {recipe.model.name} has to be trained before it can be measured.",
            "Give a run folder, a model folder or a checkpoint, or a recipe such as hspnet/zero-shot.",
        )
    from hlcli.encoders.clip_models import short_clip_name

    labels = upstream_labels(recipe)
    facts = {"source": short_clip_name(recipe.backbone.name), "weights": "untrained"}
    return LoadedModel(build_model(recipe, labels).eval(), recipe=recipe, labels=labels, thresholds=None, facts=facts)
