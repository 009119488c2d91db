"""A trained model on disk: `model.safetensors` and `model.json`; complete, so that nothing else is needed to use it."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hlcli.building import build_for_weights, build_model, self_contained
from hlcli.data.labels import LabelSpace
from hlcli.errors import CheckpointError, HlcliError, named
from hlcli.files import recover_folder, whole_folder
from hlcli.fitting_weights import refuse_misfits
from hlcli.hub.names import local_model
from hlcli.metrics.calibration_maps import CalibrationMap
from hlcli.metrics.multilabel import LevelThreshold
from hlcli.models.description import (
    DESCRIPTION_FILE,
    ModelDescription,
    read_description,
    read_document,
    write_description,
)
from hlcli.plain_text import counted
from hlcli.recipe import Recipe
from hlcli.sharding import local_part

if TYPE_CHECKING:
    from hlcli.captioning.vocabulary import Vocabulary
    from hlcli.methods.base import MethodSection

logger = logging.getLogger(__name__)

MODEL_FILES = ("model.safetensors", DESCRIPTION_FILE)


class LoadedModel(NamedTuple):
    """A network with everything that is needed to use it.

    `thresholds` has one value per level, coarse → fine, or one per label; None when none were tuned on val. `facts`
    tells where the weights come from, `folder` is what was opened. A captioner has a vocabulary, and no labels.
    """

    model: nn.Module
    recipe: Recipe
    labels: LabelSpace
    thresholds: tuple[LevelThreshold, ...] | None
    facts: dict[str, Any]
    vocabulary: Vocabulary | None = None
    calibration: CalibrationMap | None = None
    folder: Path | None = None


def save_model(
    folder: Path,
    state: Mapping[str, Tensor],
    recipe: Recipe,
    labels: LabelSpace,
    *,
    thresholds: tuple[LevelThreshold, ...] | None,
    facts: Mapping[str, Any],
    vocabulary: Vocabulary | None = None,
    calibration: CalibrationMap | None = None,
) -> None:
    """Write a model folder; it replaces an older one only when it is whole."""
    with whole_folder(folder) as building:
        try:
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, building / "model.safetensors")
        except SafetensorError as error:
            raise HlcliError(f"{folder} cannot be written: {error}.") from error
        description = ModelDescription(recipe, labels, thresholds, dict(facts), vocabulary, calibration)
        write_description(building, description)


def read_model(path: str | Path, recipe: Recipe | None = None) -> LoadedModel:
    """Load a run folder (its best model), a model folder, or an upstream checkpoint.

    Args:
        path: folder or file; or `hf://owner/name`, a model on the hub.
        recipe: says what an upstream checkpoint is; only needed for one.

    Raises:
        CheckpointError: when there is nothing to load, or it does not fit.
    """
    path = local_model(path, MODEL_FILES)
    if path.is_dir():
        recover_folder(path / "model")
        recover_folder(path)
        return _open_folder(model_in(path))._replace(folder=path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist.", "Give a run folder, a model folder or a checkpoint file.")
    if recipe is None:
        raise CheckpointError(
            f"{path} is a file: an upstream checkpoint needs --recipe to say what it is.",
            "For example: hlcli eval model_best.pth.tar --recipe hleg/intentonomy.",
        )
    return open_upstream(path, recipe)


def model_facts(path: str | Path) -> dict[str, Any]:
    """Where the weights of a run's best model, or of a model folder, come from, and their metrics; {} for a file.

    Raises:
        CheckpointError: when the folder holds no model.
    """
    path = local_model(path, MODEL_FILES)
    if not path.is_dir():
        return {}
    folder = model_in(path)
    try:
        return dict(read_document(folder)["facts"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / DESCRIPTION_FILE} cannot be read: {error!r}") from error


def model_vocabulary(path: str | Path) -> Vocabulary | None:
    """The words of a run's best model, or of a model folder; None where it makes no captions, and for a file.

    Raises:
        CheckpointError: when the folder holds no model.
    """
    from hlcli.captioning.vocabulary import Vocabulary

    path = local_model(path, MODEL_FILES)
    if not path.is_dir():
        return None
    folder = model_in(path)
    words = read_document(folder).get("vocabulary")
    try:
        return None if words is None else Vocabulary.from_json(words)
    except ValueError as error:
        raise CheckpointError(f"{folder / DESCRIPTION_FILE} cannot be read: {error!r}") from error


def copy_model(path: str | Path, folder: Path) -> None:
    """Copy the model of a run or a model folder; whole or not at all."""
    path = local_model(path, MODEL_FILES)
    with whole_folder(folder) as building:
        for name in MODEL_FILES:
            shutil.copyfile(model_in(path) / name, building / name)


def model_in(path: Path) -> Path:
    """The model folder of a run, or the folder itself."""
    return path / "model" if (path / "model" / "model.json").is_file() else path


def _open_folder(folder: Path) -> LoadedModel:
    description = read_description(folder)
    model = build_for_weights(description.recipe, description.vocabulary or description.labels)
    mapped = _read_safetensors(folder / "model.safetensors")
    # Copied: a process dies when a file that it has mapped is cut short by someone who writes another one over it.
    load_weights(model, {name: value.clone() for name, value in mapped.items()}, str(folder), assign=True)
    _check_finite(model, str(folder))
    return LoadedModel(model=model.eval(), **description._asdict())


def open_upstream(path: Path, recipe: Recipe) -> LoadedModel:
    """Load a checkpoint of a reference implementation; code inside it is never run.

    The network's weights are those of the file, which stays mapped where its format allows: none is in memory twice.
    """
    from hlcli.upstream import read_upstream

    labels, vocabulary = upstream_labels(recipe), None
    if recipe.model.task == "captions":
        from hlcli.captioning.words import open_vocabulary

        vocabulary = open_vocabulary(recipe.data)
    recipe = self_contained(recipe)
    state, info = read_upstream(path)
    method = recipe.model
    outputs = vocabulary or labels
    if method.needs_backbone(recipe.data) and not method.published_backbone:
        model = build_model(recipe, outputs, data_files=method.published_needs_files)
        if not recipe.backbone.pretrained and recipe.backbone.weights is None:
            hint = "Set backbone.pretrained or backbone.weights."
            logger.warning("%s holds no image encoder, and the recipe's is random. %s", path, hint)
    else:
        model = build_for_weights(recipe, outputs, data_files=method.published_needs_files)
    load_weights(model, _under_our_names(state, method, model, path), str(path), assign=True)
    _check_finite(model, str(path))
    weights = {"ema": "ema", "bare": "unknown"}.get(method.published_weights)
    if weights is None:
        weights = "regular" if all(name.startswith("module.") for name in state) else method.unwrapped_weights
    facts = {"source": path.name, "weights": weights, "upstream": info}
    return LoadedModel(
        model=model.eval(), recipe=recipe, labels=labels, thresholds=None, facts=facts, vocabulary=vocabulary
    )


def read_weights(path: str | Path, recipe: Recipe, model: nn.Module) -> dict[str, Tensor]:
    """Weights of a run folder, a model folder or an upstream checkpoint, under our names, not yet compared.

    Raises:
        CheckpointError: when there is nothing to read.
    """
    path = local_model(path, MODEL_FILES)
    if path.is_dir():
        return _read_safetensors(model_in(path) / "model.safetensors")
    from hlcli.upstream import read_upstream

    return _under_our_names(read_upstream(path).state, recipe.model, model, path)


def _under_our_names(
    state: Mapping[str, Tensor], method: MethodSection, model: nn.Module, path: Path
) -> dict[str, Tensor]:
    """An upstream checkpoint's state as the network has it; messages name the file."""
    try:
        return method.from_upstream(state, model)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error


def upstream_labels(recipe: Recipe) -> LabelSpace:
    """The labels a recipe's data set has by itself, whether it is prepared or not."""
    from hlcli.data.store import open_label_space

    try:
        return open_label_space(recipe.data)
    except HlcliError:
        return recipe.data.label_space()


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str, *, assign: bool = False) -> None:
    """Load a complete state.

    Args:
        model: the network.
        state: its weights and buffers by name.
        source: what messages call them.
        assign: let the network keep these very tensors instead of copying their numbers into its own.

    Raises:
        CheckpointError: naming keys that are missing, left over, of another shape, or no real numbers.
    """
    own = model.state_dict()
    hint = "Is it of the method, the backbone, the image size and the labels that the recipe says?"
    refuse_misfits(own, state, f"{source} does not fit this model", hint)
    parameters = {name for name, _ in model.named_parameters()}
    unreal = sorted(
        name for name, value in state.items()
        if value.is_complex() or (name in parameters and not value.is_floating_point())
    )  # fmt: skip
    if unreal:
        kinds = named([f"{name} {state[name].dtype}" for name in unreal])
        raise CheckpointError(
            f"{source}: {counted(len(unreal), 'key')} that are no real numbers ({kinds}).",
            "Weights are floating-point numbers; quantised ones cannot be loaded.",
        )
    given = {name: value.to(own[name].dtype).contiguous() for name, value in state.items()} if assign else state
    own.update(given)  # keeps the versions of modules that torch notes in a state dict
    model.load_state_dict(own, assign=assign)


def _check_finite(model: nn.Module, source: str) -> None:
    suspects = {name: value for name, value in model.state_dict().items() if not value.sum().isfinite()}
    bad = sorted(name for name, value in suspects.items() if not value.isfinite().all())
    if bad:
        what = f"{counted(len(bad), 'key')} with values that are not finite ({named(bad)})"
        raise CheckpointError(f"{source}: {what}.", "Its training failed, or it is damaged.")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing.") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def finite(model: nn.Module) -> bool:
    """A quick look at what this process holds: sums of weights are numbers, no buffer has NaN or both infinities."""
    sums = [local_part(parameter.detach()).sum() for parameter in model.parameters()]
    kept = [buffer.sum().nan_to_num(math.nan, 0, 0) for buffer in model.buffers() if buffer.is_floating_point()]
    return bool(torch.stack([value.float() for value in (*sums, *kept)]).isfinite().all())
