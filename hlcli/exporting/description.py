"""What a program that runs an exported file must know beside it."""

from __future__ import annotations

from typing import Any

from hlcli.captioning.vocabulary import BEGIN, END, PADDING, UNKNOWN
from hlcli.data.transforms import NORMALIZATIONS
from hlcli.exporting.labels import output_names
from hlcli.models.folder import LoadedModel
from hlcli.thresholds import choose_thresholds

_FORMAT = 1


def describe_labels(loaded: LoadedModel, *, any_size: bool) -> dict[str, Any]:
    """Of a label model: the images, and for every output its level, labels and threshold."""
    evaluation = loaded.recipe.eval
    thresholds = choose_thresholds(evaluation.threshold, loaded.labels, loaded.thresholds)
    levels = [
        {"output": output, **level, "threshold": threshold}
        for output, level, threshold in zip(
            output_names(loaded.labels), loaded.labels.to_json()["levels"], thresholds, strict=True
        )
    ]
    return {
        **_describe_images(loaded),
        "any_size": any_size,
        "levels": levels,
        "at_threshold": evaluation.at_threshold,
        "consistent": evaluation.consistent,
        "calibration": "none" if loaded.calibration is None else loaded.calibration.method,
        **_describe_model(loaded),
    }


def describe_captioner(loaded: LoadedModel) -> dict[str, Any]:
    """Of a captioner: its words by number, special ones, and how its recipe looks for captions."""
    recipe, vocabulary = loaded.recipe, loaded.vocabulary
    assert vocabulary is not None, "a captioner has words"
    search = recipe.eval.model_copy(update={"allow_unknown": False})  # nobody wants <unk> in the caption of a photo
    return {
        **_describe_images(loaded),
        "max_regions": recipe.data.max_regions,
        "words": list(vocabulary.tokens),
        "unknown": UNKNOWN,
        "padding": PADDING,
        "begin": BEGIN,
        "end": END,
        "most_steps": recipe.model.most_words() + 1,
        "search": {
            **search.model_dump(mode="json", include={"max_words", *search.own_keys()}),
            "never": list(search.unwanted_words),
        },
        **_describe_model(loaded),
    }


def _describe_images(loaded: LoadedModel) -> dict[str, Any]:
    """How a photo becomes an input; the graph does the normalisation itself."""
    data = loaded.recipe.data
    mean, std = NORMALIZATIONS[data.normalization]
    return {
        "image_size": list(data.height_width),
        "resize": data.resize,
        "normalization": {"inside": True, "mean": list(mean), "std": list(std)},
    }


def _describe_model(loaded: LoadedModel) -> dict[str, Any]:
    from hlcli import __version__

    return {
        "format": _FORMAT,
        "hlcli": __version__,
        "method": loaded.recipe.model.name,
        "facts": loaded.facts,
        "recipe": loaded.recipe.model_dump(mode="json"),
    }
