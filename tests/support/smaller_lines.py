"""Command lines of the documentation with little work: what is added to them, never another word."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from hlcli.recipe import Recipe

_TINY_FEATURES = "--overwrite --backbone clip:tiny --no-pretrained --workers 0"
ADDED = {
    "hlcli preprocess": "--overwrite --allow-partial",
    "hlcli preprocess vg500": "--overwrite --allow-partial --min-agreement 0",
    "hlcli embed labels": "--overwrite",
    "hlcli embed labels coco --encoder clip:RN50": "--overwrite --encoder clip:tiny-clip/clip/weights.pt",
    "hlcli embed graph": "--overwrite --encoder clip:tiny-clip/clip/weights.pt",
    "hlcli embed graph voc2012": "--overwrite",
    "hlcli embed images": _TINY_FEATURES,
    "hlcli embed images coco-karpathy --kind region --detector": f"{_TINY_FEATURES} --detector windows",
    "hlcli embed images --from-tsv": "--overwrite",
    "hlcli eval checkpoint.pth": "--set backbone.name=test_resnet",
    "hlcli eval --recipe hspnet/zero-shot": "--set backbone.name=clip:tiny-clip --set backbone.weights=clip/weights.pt",
    "hlcli train --recipe birds --set data.workers=8": "--set data.workers=0",
    "hlcli train --recipe quickstart --num-processes 3": "--set data.num_train=66",
    "hlcli train --recipe hspnet/shapes --set backbone.name=clip:ViT-B-32": "--set backbone.name=clip:tiny",
    "hlcli train --recipe birds --run runs/larger": "--set train.epochs=1 --set data.image_size=32",
    "hlcli visualize attention": "--max-images 1",
    "hlcli visualize captions": "--max-images 1",
    "hlcli visualize embeddings": "--projection pca",
    "hlcli visualize levels": "--max-images 1",
    "hlcli compare": "--resamples 20",
}
"""What is added to lines that begin so; of several beginnings the longest counts. The last of two options counts."""

_SMALL: dict[str, dict[str, Any]] = {
    "data": {"image_size": 32, "workers": 0},
    "backbone": {"pretrained": "false", "frozen": "[]", "stage": "null"},
    "train": {"epochs": 1, "batch_size": 2, "cpu": "true", "precision": "fp32", "checkpoint_every_steps": "null"},
    "eval": {"batch_size": 8, "every_epochs": 1},
}  # fmt: skip
"""What every recipe is changed to where a line does not say something itself."""

_NARROW = {
    "hidden_dim": 32, "feedforward_dim": 32, "attention_dim": 16, "dim": 16, "num_heads": 2, "key_width": 8,
    "value_width": 8, "feed_forward": 16, "encoder_layers": 1, "decoder_layers": 1, "gcn_hidden": 16,
    "label_embedding_dim": 16, "num_scenes": 2,
}  # fmt: skip
"""And its network, where it has such a key."""

_DRAWN = {"num_train": 16, "num_val": 10, "num_test": 10}
_CAPTIONS: dict[str, dict[str, Any]] = {"data": {"min_word_count": 2}, "eval": {"beam_size": 2, "max_words": 8}}


def smaller(line: str) -> list[str]:
    """The words after `hlcli` of a command line, with what makes it quick.

    Raises:
        RecipeError: when its recipe, with its settings, is none.
    """
    begins = [begin for begin in ADDED if line.startswith(begin)]
    words = shlex.split(line, comments=True)[1:]
    words += shlex.split(ADDED[max(begins, key=len)]) if begins else []
    if words[0] in ("train", "eval", "convert") and "--recipe" in words:
        said = [after for word, after in pairwise(words) if word == "--set"]
        recipe = Recipe.from_yaml(words[words.index("--recipe") + 1], said)
        words += _small_settings(recipe, said)
    return words


def _small_settings(recipe: Recipe, said: Sequence[str]) -> list[str]:
    tree: dict[str, dict[str, Any]] = {section: dict(values) for section, values in _SMALL.items()}
    is_clip = recipe.model.backbone_kind == "clip" or recipe.backbone.name.startswith("clip:")
    tree["backbone"]["name"] = "clip:tiny" if is_clip else "test_resnet"
    tree["model"] = {key: value for key, value in _NARROW.items() if key in type(recipe.model).model_fields}
    if recipe.data.name == "shapes":
        tree["data"] |= _DRAWN
    if recipe.data.name in ("shapes", "folder"):  # the others have two images to train on, or little more
        tree["train"]["batch_size"] = 8
    if recipe.model.task == "captions":
        for section, values in _CAPTIONS.items():
            tree[section] |= values
    return _as_words(tree, said)


def _as_words(tree: Mapping[str, Mapping[str, Any]], said: Sequence[str]) -> list[str]:
    keys = {text.partition("=")[0] for text in said}
    settings = [f"{section}.{key}={value}" for section, values in tree.items() for key, value in values.items()
                if f"{section}.{key}" not in keys]  # fmt: skip
    return [word for setting in settings for word in ("--set", setting)]
