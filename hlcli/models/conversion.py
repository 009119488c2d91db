"""The `convert` verb: a reference implementation's checkpoint → our model folder, and back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from hlcli.errors import CheckpointError, named
from hlcli.files import check_writable, refuse_existing, whole_file
from hlcli.models.folder import MODEL_FILES, LoadedModel, open_upstream, save_model
from hlcli.models.opening import GivenModel, open_model
from hlcli.recipe import Recipe

logger = logging.getLogger(__name__)


def convert(checkpoint: str | Path, recipe: Recipe, *, out: str | Path, overwrite: bool = False) -> Path:
    """Write an upstream checkpoint as a model folder.

    Args:
        checkpoint: the reference's file; code inside it is never run.
        recipe: says which method, backbone, image size and labels it has.
        out: the new model folder.
        overwrite: replace an existing model folder; never a folder with anything else in it.

    Raises:
        CheckpointError: when the file does not fit the recipe, or `out` is there and may not be replaced.

    Examples:
        >>> checkpoint = hlcli.export_upstream("runs/shapes", out="hleg.pth")
        >>> recipe = hlcli.Recipe.from_yaml("runs/shapes/recipe.yaml")
        >>> print(hlcli.convert(checkpoint, recipe, out="converted"))
        converted
    """
    out = Path(out)
    check_model_folder(out, overwrite)
    loaded = open_upstream(Path(checkpoint), recipe)
    save_model(
        out,
        loaded.model.state_dict(),
        loaded.recipe,
        loaded.labels,
        thresholds=None,
        facts=loaded.facts,
        vocabulary=loaded.vocabulary,
    )
    return out


def export_upstream(model: GivenModel, *, out: str | Path, overwrite: bool = False) -> Path:
    """Write a model as the reference implementation's checkpoint file, and warn of what has no place in it.

    That is `{"state_dict": …, "epoch", "arch"}`, or weights alone; see `MethodSection.published_weights`.

    Raises:
        CheckpointError: when the model cannot be read, the file exists, or `out` is a folder.

    Examples:
        >>> print(hlcli.export_upstream("runs/shapes", out="model_best.pth.tar"))
        model_best.pth.tar
    """
    out = Path(out)
    if out.is_dir():
        raise CheckpointError(f"{out} is a folder; --out must be a file for --to upstream.")
    refuse_existing(out, overwrite)
    check_writable(out.parent)
    loaded = open_model(model)
    method = loaded.recipe.model
    state = method.to_upstream(loaded.model.state_dict(), loaded.model)
    content: dict[str, Any] = dict(state)
    if method.published_weights == "ema":
        content = {f"module.{name}": value for name, value in state.items()}
    elif method.published_weights == "regular":
        content = {"epoch": int(loaded.facts.get("epoch", 0)), "arch": method.name, "state_dict": state}
    with whole_file(out, "wb") as handle:
        torch.save(content, handle)
    logger.warning(
        "%s holds weights alone; the published program has no place for %s. Keep the model folder.",
        out,
        ", ".join(_left_out(loaded)),
    )
    return out


def _left_out(loaded: LoadedModel) -> list[str]:
    """What a model folder holds and a reference's checkpoint does not, in words."""
    shown = ", ".join(
        f"{value:g}" if isinstance(value, float) else "one per label" for value in loaded.thresholds or ()
    )
    thresholds = loaded.thresholds and f"the thresholds ({shown})"
    calibration = loaded.calibration and f"the calibration of scores ({loaded.calibration.method})"
    names = "the names of the labels" if loaded.vocabulary is None else "the vocabulary"
    parts = [thresholds, calibration, names, *loaded.recipe.model.left_out_upstream(loaded.model), "the recipe"]
    return [part for part in parts if part]


def check_model_folder(path: Path, overwrite: bool) -> None:
    """Refuse to replace anything but an empty folder or one that holds a model and nothing else.

    Raises:
        CheckpointError: when something is there that may not be replaced.
    """
    refuse_existing(path, overwrite)
    check_writable(path.parent)
    if not path.exists():
        return
    held = {entry.name for entry in path.iterdir()} if path.is_dir() else {path.name}
    strangers = sorted(held - set(MODEL_FILES))
    if strangers or (held and "model.json" not in held) or not path.is_dir() or not path.name:
        shown = f" (it holds {named(strangers, 3)})" if strangers and path.is_dir() else ""
        raise CheckpointError(
            f"{path} is not a model folder{shown}; it is not replaced.", "Give the name of a new folder with --out."
        )
