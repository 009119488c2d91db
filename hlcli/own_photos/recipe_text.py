"""The recipe that fits a person's photos: sizes by how many there are, and the reason beside every line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from hlcli.errors import InputError
from hlcli.methods.base import MethodSection
from hlcli.recipe import section_classes
from hlcli.recipe_reading.text import write_yaml

_FEW_IMAGES = 1000
"""Up to so many images to train on a small backbone is enough, and a large one learns them by heart."""

_PASSES = 12_000
"""Images shown in a whole training, repetitions counted, within the bounds of epochs below."""
_FEWEST_EPOCHS, _MOST_EPOCHS = 8, 20
_BATCH_SIZE = 32

_METHODS: Mapping[str, type[MethodSection]] = section_classes("model")  # type: ignore[assignment]
_OWN = {name: method.own_photos for name, method in _METHODS.items() if method.own_photos is not None}
"""Of the methods that train on any photos without further files, how they begin."""


class Facts(NamedTuple):
    """What the recipe is made for.

    Args:
        name: folder of the recipe, as it is given to `--recipe`.
        images: folder of the photos.
        labels: the label file.
        hierarchy: the tree, if there is one.
        val_fraction: share of images without a split that measure.
        test_fraction: share of them that test.
        has_labels: whether labels are learnt, or else captions.
        num_levels: of labels.
        num_train: images to train on.
        num_captions: of all images.
        image_side: the usual shorter side of the photos, in pixels.
    """

    name: str
    images: Path
    labels: Path
    hierarchy: Path | None
    val_fraction: float
    test_fraction: float
    has_labels: bool
    num_levels: int
    num_train: int
    num_captions: int
    image_side: int


def choose_method(facts: Facts, method: str | None) -> str:
    """The method that was asked for, or the one that fits.

    Raises:
        InputError: when it cannot be trained on these photos without further files.
    """
    if method is None:
        if not facts.has_labels:
            return "hin"
        return "hleg" if facts.num_levels > 1 else "linear" if facts.num_train < _FEW_IMAGES else "query2label"
    if method not in _OWN:
        raise InputError(
            f"method: one of {', '.join(_OWN)} was expected (got {method!r}).",
            "Recipes of the others are listed by `hlcli recipes list`.",
        )
    if _learns_captions(method) and not facts.num_captions:
        raise InputError(f"method: {method} learns captions, and the table has none.", "Name a column `captions`.")
    if not _learns_captions(method) and not facts.has_labels:
        raise InputError(f"method: {method} learns labels, and the table has captions alone.", "Leave the method out.")
    return method


def _learns_captions(method: str) -> bool:
    return _METHODS[method].task == "captions"


def write_recipe(facts: Facts, method: str) -> str:
    """The text of the recipe."""
    captions = _learns_captions(method)
    sections = _for_captions(facts, method) if captions else _for_labels(facts, method)
    lines = [*_header(facts, method, captions=captions), *_section("data", _data(facts, captions=captions))]
    for name, rows in sections.items():
        lines += _section(name, rows)
    return "\n".join(lines) + "\n"


_Rows = Mapping[str, tuple[Any, str]]
"""Values of a section with a remark each."""


def _header(facts: Facts, method: str, *, captions: bool) -> list[str]:
    use = "caption" if captions else "eval"
    photos = "PHOTOS" if captions else "--images PHOTOS"
    measure = " --split val" if captions else ""
    name, run = quote(facts.name), quote(f"runs/{Path(facts.name).stem}")
    return [
        f"# {method} on one's own photos: {facts.num_train:,} to train on. Written by `hlcli init`; yours to change.",
        "#",
        f"# hlcli debug data {name}          # what is wrong with the photos and their labels",
        f"# hlcli train --recipe {name}      # the run folder is {run}, or the next free one",
        f"# hlcli {use} {run}{measure}",
        f"# hlcli {use} {run} {photos} --out predictions.jsonl",
        "#",
        f"# All keys with their values: hlcli recipes show {name} --resolved",
    ]


def _section(name: str, rows: _Rows) -> list[str]:
    shown = {key: write_yaml({key: value}).rstrip("\n") for key, (value, _) in rows.items()}
    width = max(map(len, shown.values()))
    return [f"{name}:", *(f"  {shown[key]:{width}}  # {rows[key][1]}".rstrip(" #") for key in rows)]


_FAST = ("fast", "large photos load sooner; exact is for the papers' own numbers")


def _data(facts: Facts, *, captions: bool) -> _Rows:
    rows: dict[str, tuple[Any, str]] = {
        "dataset": ("folder", ""),
        "images": (str(facts.images), "the photos; their names in the label file are relative to it"),
        "labels": (str(facts.labels), "image,labels with ; between labels, or image,captions with | between captions"),
    }
    if facts.hierarchy is not None:
        rows["hierarchy"] = (str(facts.hierarchy), "parents above labels, any number of levels")
    rows["val_fraction"] = (facts.val_fraction, "of rows that you add without a split, the share that measures")
    rows["test_fraction"] = (facts.test_fraction, "and the share by which nothing is chosen")
    if captions:
        rows["resize"] = ("crop", "as the backbone's own training did")
        rows["normalization"] = ("clip", "colours as the backbone knows them")
        rows["pixels"] = _FAST
        count = facts.num_captions
        least = 1 if count < 2_000 else 2 if count < 20_000 else 5
        rows["min_word_count"] = (least, "rarer words count as unknown")
        return rows
    side = 224 if facts.image_side >= 224 else max(64, facts.image_side // 32 * 32)
    rows["image_size"] = (side, "pixels; larger sees more and costs its square")
    rows["pixels"] = _FAST
    rows["randaugment"] = (True, "random changes of colour and shape: other photos in every epoch")
    rows["horizontal_flip"] = (True, "false where left and right are not the same, as in writing")
    return rows


def _batch_size(facts: Facts) -> int:
    """Such that even few photos make some steps in an epoch."""
    return min(_BATCH_SIZE, max(4, facts.num_train // 16), facts.num_train)


def _training(facts: Facts) -> dict[str, tuple[Any, str]]:
    batch_size = _batch_size(facts)
    epochs = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, round(_PASSES / facts.num_train)))
    steps = epochs * (facts.num_train // batch_size)
    return {
        "epochs": (epochs, "more where the last ones still bring a better model"),
        "batch_size": (batch_size, "photos per step; less where memory runs out"),
        "ema_decay": (0.99 if steps < 1000 else 0.997, "weights are averaged over about 1 / (1 - this) steps"),
    }


def _model(method: str) -> _Rows:
    return {"method": (method, ""), **{key: (value, "") for key, value in _OWN[method].settings.items()}}


def _for_labels(facts: Facts, method: str) -> dict[str, _Rows]:
    name = "resnet18.a1_in1k" if facts.num_train < _FEW_IMAGES else "resnet50.a1_in1k"
    rate = _OWN[method].lr
    backbone: dict[str, tuple[Any, str]] = {"name": (name, "any timm model; its published weights are fetched once")}
    if _batch_size(facts) < _BATCH_SIZE // 2:
        backbone["freeze_batch_norm"] = (True, "batches of so few photos are no statistics")
        backbone["frozen"] = (["conv1", "bn1", "layer1"], "first layers, which see edges and colours, stay as they are")
    training = _training(facts)
    every = 2 if training["epochs"][0] > 10 else 1
    return {
        "backbone": backbone,
        "model": _model(method),
        "objective": {"loss": ("asymmetric", "with labels that people forgot: splc (docs/missing_labels.md)")},
        "optim": {
            "optimizer": ("adamw", ""),
            "lr": (rate, "of the new layers"),
            "backbone_lr_factor": (round(1e-4 / rate, 3), "the backbone knows much already, and moves less"),
        },
        "schedule": {"schedule": ("onecycle", "")},
        "train": training,
        "eval": {
            "batch_size": (64, ""),
            "every_epochs": (every, ""),
            "select_by": ("mAP", "the best epoch by this is kept"),
            "threshold": ("val", "tuned on val, where F1 is best; or a number"),
        },
    }


def _for_captions(facts: Facts, method: str) -> dict[str, _Rows]:
    name = "vit_base_patch32_clip_224.openai"
    return {
        "backbone": {"name": (name, "CLIP's image encoder, not trained; its weights are fetched once")},
        "model": _model(method),
        "objective": {
            "loss": ("cross_entropy", ""),
            "group_captions": (True, "a photo is encoded once for all of its captions"),
        },
        "optim": {"optimizer": ("adamw", ""), "lr": (_OWN[method].lr, "")},
        "schedule": {"schedule": ("onecycle", ""), "warmup_fraction": (0.1, ""), "cycle_momentum": (False, "")},
        "train": _training(facts),
        "eval": {"batch_size": (32, ""), "select_by": ("CIDEr", "the best epoch by this is kept")},
    }
