"""`model.json`: all that is to be known of a model beside its weights; read strictly, whichever hlcli wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hlcli.data.labels import LabelSpace
from hlcli.errors import CheckpointError, DataError, RecipeError
from hlcli.files import write_json
from hlcli.json_text import read_json
from hlcli.metrics.calibration_maps import CalibrationMap
from hlcli.metrics.multilabel import LevelThreshold
from hlcli.recipe import Recipe

if TYPE_CHECKING:
    from hlcli.captioning.vocabulary import Vocabulary

_FORMAT = 2
"""Raised when older programs can no longer read what is written; what is older is brought up to date on reading."""

_FORMAT_BEFORE_CALIBRATION = 1
"""Still written for models without calibration and thresholds per label, which older programs understand."""

DESCRIPTION_FILE = "model.json"

_DROPPED_KEYS = (("model", "localisation_target_threshold"),)
"""Keys of older recipes that nothing reads any more, by section; they concerned training alone."""


class ModelDescription(NamedTuple):
    """What a model is: all of a `LoadedModel` but its network, in the same words."""

    recipe: Recipe
    labels: LabelSpace
    thresholds: tuple[LevelThreshold, ...] | None
    facts: dict[str, Any]
    vocabulary: Vocabulary | None = None
    calibration: CalibrationMap | None = None


def write_description(folder: Path, model: ModelDescription) -> None:
    """Write `model.json` into a folder."""
    from hlcli import __version__

    is_plain = model.calibration is None and not any(isinstance(one, tuple) for one in model.thresholds or ())
    description = {
        "format": _FORMAT_BEFORE_CALIBRATION if is_plain else _FORMAT,
        "hlcli": __version__,
        "facts": dict(model.facts),
        "thresholds": None if model.thresholds is None else list(model.thresholds),
        **_seen_as(model.recipe),
        "labels": model.labels.to_json(),
        "recipe": model.recipe.model_dump(mode="json"),
    }
    if model.calibration is not None:
        description["calibration"] = model.calibration.to_json()
    if model.vocabulary is not None:
        description["vocabulary"] = model.vocabulary.to_json()
    write_json(folder / DESCRIPTION_FILE, description)


def read_document(folder: Path) -> dict[str, Any]:
    """The JSON document of a model folder as this hlcli writes it.

    Raises:
        CheckpointError: when there is none, or it is damaged or newer than this hlcli.
    """
    file = folder / DESCRIPTION_FILE
    if not file.is_file():
        is_run = (folder / "recipe.yaml").is_file()
        hint = "The run has not finished its first evaluation." if is_run else "Give a run folder or a model folder."
        raise CheckpointError(f"{folder} holds no model: {DESCRIPTION_FILE} is missing.", hint)
    try:
        document = read_json(file)
        number = document["format"]
        if type(number) is not int or number < 1:
            raise ValueError(f"format {number!r} is no whole number from 1 on")
        if number > _FORMAT:
            raise CheckpointError(
                f"{file} has format {number}; this hlcli reads up to {_FORMAT}.",
                f"Upgrade: it was written by hlcli {document.get('hlcli')}.",
            )
        return _up_to_date(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} cannot be read: {error!r}") from error


def _up_to_date(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of this format or an older one, as it is written today."""
    recipe = {name: dict(section) for name, section in document["recipe"].items()}
    for section, key in _DROPPED_KEYS:
        recipe.get(section, {}).pop(key, None)
    return {**document, "recipe": recipe}


def read_description(folder: Path) -> ModelDescription:
    """What the model of a folder is.

    Raises:
        CheckpointError: when it cannot be read or contradicts itself; the message says why.
    """
    document = read_document(folder)
    file = folder / DESCRIPTION_FILE
    try:
        labels = LabelSpace.from_json(document["labels"])
        recipe = Recipe.from_dict(document["recipe"], source=str(file))
        thresholds = _read_thresholds(document["thresholds"], labels)
        told = document.get("calibration")
        calibration = None if told is None else CalibrationMap.from_json(told, labels.level_sizes)
        _check_images(document, recipe)
        facts, vocabulary = dict(document["facts"]), _read_vocabulary(document, recipe)
    except RecipeError as error:
        hint = f"It was written by hlcli {document.get('hlcli')}: use that one, or correct {DESCRIPTION_FILE}."
        raise RecipeError(error.message, hint if error.hint is None else f"{error.hint} {hint}") from error
    except (ValueError, KeyError, TypeError, DataError) as error:
        raise CheckpointError(f"{file} cannot be read: {error!r}") from error
    return ModelDescription(recipe, labels, thresholds, facts, vocabulary, calibration)


def _read_thresholds(values: Any, labels: LabelSpace) -> tuple[LevelThreshold, ...] | None:
    """One number for each level, or a list of one per label.

    Raises:
        ValueError, TypeError: when it is something else.
    """
    if values is None:
        return None
    found = [tuple(value) if isinstance(value, list) else value for value in values]
    numbers = [number for value in found for number in (value if isinstance(value, tuple) else (value,))]
    fit = len(found) == len(labels.levels) and all(
        not isinstance(value, tuple) or len(value) == size
        for value, size in zip(found, labels.level_sizes, strict=True)
    )
    if not fit or not all(map(_is_share, numbers)):
        raise ValueError(f"thresholds {values!r:.200} are not one number between 0 and 1 per level, or per label")
    return tuple(found)


def _is_share(value: object) -> bool:
    """Of JSON's values: a number between 0 and 1."""
    return isinstance(value, float) and 0 < value < 1


def _seen_as(recipe: Recipe) -> dict[str, Any]:
    """How images are shown to the network, in numbers, for programs that know no recipes."""
    from hlcli.data.transforms import NORMALIZATIONS

    mean, std = NORMALIZATIONS[recipe.data.normalization]
    return {"image_size": list(recipe.data.height_width), "normalization": {"mean": list(mean), "std": list(std)}}


def _check_images(document: Mapping[str, Any], recipe: Recipe) -> None:
    """Refuse numbers that are not those of the recipe, which are used.

    Raises:
        ValueError: naming both.
    """
    for key, expected in _seen_as(recipe).items():
        if document[key] != expected:
            raise ValueError(f"{key} {document[key]!r} contradicts its recipe, by which it is {expected!r}")


def _read_vocabulary(document: Mapping[str, Any], recipe: Recipe) -> Vocabulary | None:
    """The words of a captioner."""
    if recipe.model.task != "captions":
        return None
    from hlcli.captioning.vocabulary import Vocabulary

    return Vocabulary.from_json(document["vocabulary"])
