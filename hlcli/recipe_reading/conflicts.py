"""Values of a recipe that are fine alone but not together. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hlcli.errors import nearest
from hlcli.methods.captions import CaptionMethod
from hlcli.metrics.captioning.names import spelt_out
from hlcli.sections import Backbone, OneCycle

if TYPE_CHECKING:
    from hlcli.recipe import Recipe


def find_conflicts(recipe: Recipe) -> list[str]:
    """Every pair of values that contradict each other, as `section.key: what`."""
    return [
        *_task_conflicts(recipe),
        *_clip_conflicts(recipe),
        *_data_conflicts(recipe),
        *_caption_conflicts(recipe),
        *_unused_keys(recipe),
        *_train_conflicts(recipe),
        *_eval_conflicts(recipe),
        *_schedule_conflicts(recipe),
    ]


def _task_conflicts(recipe: Recipe) -> list[str]:
    """A method of labels with an objective of captions, or the other way round."""
    if recipe.model.task == recipe.objective.task:
        return []
    fitting = "cross_entropy, then self_critical" if recipe.model.task == "captions" else "asymmetric, bce, splc…"
    return [
        f"objective.loss: {recipe.model.name} learns {recipe.model.task}, but {recipe.objective.loss} is a loss of "
        f"{recipe.objective.task}. Write {fitting}"
    ]


def _clip_conflicts(recipe: Recipe) -> list[str]:
    found = []
    kind, is_clip = recipe.model.backbone_kind, recipe.backbone.name.startswith("clip:")
    if kind == "clip" and not is_clip:
        found.append(
            f"backbone.name: {recipe.model.name} needs a CLIP model, but {recipe.backbone.name} encodes images "
            "alone. Write clip:RN50-quickgelu, clip:ViT-B-32…"
        )
    if is_clip and kind == "grid":
        found.append(
            f"backbone.name: {recipe.model.name} needs an image encoder alone. timm has those of CLIP models, e.g. "
            "resnet50_clip.openai or vit_base_patch32_clip_224.openai"
        )
    untrained = not (recipe.backbone.pretrained or recipe.backbone.weights)
    if not recipe.model.needs_training and untrained and not recipe.train.init_weights:
        found.append(
            f"backbone.pretrained: {recipe.model.name} trains nothing, so random weights would say nothing. Set it to "
            "true, or backbone.weights to a file"
        )
    if is_clip:
        defaults = Backbone()
        unused = ("stage", "freeze_batch_norm", "class_token", "position_antialias", "gradient_checkpointing")
        found += [
            f"backbone.{key}: has no meaning for a CLIP model"
            for key in unused
            if kind != "grid" and getattr(recipe.backbone, key) != getattr(defaults, key)
        ]
    return found


def _data_conflicts(recipe: Recipe) -> list[str]:
    data, found = recipe.data, []
    if data.labels_list is not None and data.labels_kept != "all":
        found.append("data.labels_kept: data.labels_list says which labels are kept. Leave one of them out")
    return found


def _caption_conflicts(recipe: Recipe) -> list[str]:
    data, model, found = recipe.data, recipe.model, []
    if not isinstance(model, CaptionMethod):
        return []
    if data.horizontal_flip:
        found.append(
            "data.horizontal_flip: a mirrored image makes `left` and `right` in its captions wrong. Set it to false"
        )
    if data.grid_features is not None and data.region_features is None:
        found.append(
            "data.region_features: windows are pooled while the grid is computed; beside data.grid_features a "
            f"file is needed. Make one: hlcli embed images {data.name} --kind region --backbone {recipe.backbone.name}"
        )
    if model.train_backbone and data.grid_features is not None:
        found.append("model.train_backbone: there is no image encoder to train beside data.grid_features")
    widths = {"grid": (model.grid_width, data.grid_features), "region": (model.region_width, data.region_features)}
    for kind, (width, path) in widths.items():
        if width is not None and path is None:
            found.append(f"model.{kind}_width: only features of a file have one; data.{kind}_features is null")
    longest = model.most_words() + 1
    for key, words in (("eval", recipe.eval.max_words), ("objective", getattr(recipe.objective, "max_words", 0))):
        if words > longest:
            found.append(f"{key}.max_words: {words} is more than model.max_length {model.max_length} allows, {longest}")
    return found + _selection_conflicts(recipe)


def _selection_conflicts(recipe: Recipe) -> list[str]:
    """A metric of captions that chooses the best model and is not measured; labels have names of their own levels."""
    asked = recipe.eval.caption_metrics
    names = ["loss", *spelt_out(asked)]
    if recipe.select_by in names:
        return []
    near = nearest(recipe.select_by, names)
    meant = f". Did you mean {near[0]}?" if near else ""
    return [f"eval.select_by: {recipe.select_by} is not measured; eval.caption_metrics has {', '.join(asked)}{meant}"]


_OF_LABELS = {
    "data": ("labels_kept", "labels_list"),
    "eval": ("average_precision", "empty_labels", "consistent", "undefined_as_one", "at_threshold", "threshold"),
}
_OF_CAPTIONS = {
    "data": ("grid_features", "region_features", "max_regions", "vocabulary", "min_word_count"),
    "eval": ("max_words", "allow_unknown", "caption_metrics"),
}


def _unused_keys(recipe: Recipe) -> list[str]:
    """Keys of the other task that were given a value of their own."""
    if recipe.model.task == "captions":
        others, other = _OF_LABELS, "labels"
    else:
        others, other = {**_OF_CAPTIONS, "eval": (*_OF_CAPTIONS["eval"], *recipe.eval.own_keys())}, "captions"
    return [
        f"{section}.{key}: is about {other}, but {recipe.model.name} learns {recipe.model.task}"
        for section, keys in others.items()
        for key in keys
        if getattr(getattr(recipe, section), key) != _default(recipe, section, key)
    ]


def _default(recipe: Recipe, section: str, key: str) -> object:
    """What a key is where a recipe leaves it out: by the section's default variant, else by its own class."""
    own = type(getattr(recipe, section)).model_fields[key].default
    return getattr(type(recipe).model_fields[section].default, key, own)


def _train_conflicts(recipe: Recipe) -> list[str]:
    train, found = recipe.train, []
    if train.cpu and train.precision == "fp16":
        found.append("train.precision: fp16 needs a GPU, but train.cpu is true. Use bf16 or fp32")
    if train.accumulation_steps > train.batch_size:
        found.append(
            f"train.accumulation_steps: {train.accumulation_steps} parts cannot be cut from "
            f"train.batch_size of {train.batch_size}"
        )
    if train.ema_decay is not None and train.ema_start_epoch >= train.epochs:
        found.append(
            f"train.ema_start_epoch: averaging would start in epoch {train.ema_start_epoch}, but train.epochs is "
            f"{train.epochs} (counted from 0). Set train.ema_decay to null to do without"
        )
    if train.init_omit and train.init_weights is None:
        found.append("train.init_omit: nothing is omitted while train.init_weights is null")
    if train.init_best and train.init_weights is None:
        found.append("train.init_best: there is no model to beat while train.init_weights is null")
    return found


def _eval_conflicts(recipe: Recipe) -> list[str]:
    section, found = recipe.eval, []
    if section.threshold == "val" and section.split != "val" and recipe.model.task == "labels":
        found.append(
            f"eval.threshold: val is tuned on val, but eval.split is {section.split} during training. "
            "Set eval.threshold to self, or eval.split to val"
        )
    if section.weights == "ema" and recipe.train.ema_decay is None:
        found.append("eval.weights: there are no averaged weights while train.ema_decay is null")
    return found


def _schedule_conflicts(recipe: Recipe) -> list[str]:
    schedule, found = recipe.schedule, []
    if isinstance(schedule, OneCycle):
        if schedule.epochs is not None and schedule.epochs < recipe.train.epochs:
            found.append(f"schedule.epochs: {schedule.epochs} is shorter than train.epochs, {recipe.train.epochs}")
        if schedule.base_momentum > schedule.max_momentum:
            found.append(
                f"schedule.base_momentum: {schedule.base_momentum} is above "
                f"schedule.max_momentum, {schedule.max_momentum}"
            )
    return found
