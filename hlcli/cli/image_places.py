"""The images of commands that use a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import hlcli

MoreImages = Annotated[list[Path] | None, typer.Argument(metavar="IMAGES", help="More images, after --images.")]
_FILES = ("model.json", "model.safetensors")


def holds_model(place: Path) -> bool:
    """Whether a place is a run with a model, or a model folder."""
    # Both files: other programs' models have a model.json as well, and may lie beside photos.
    # isfile: a pattern may be longer than names can be, which is no error here.
    return any(all(os.path.isfile(folder / name) for name in _FILES) for folder in (place, place / "model"))


def refuse_models(places: Sequence[Path], hint: str) -> None:
    """Refuse models among the images: a run's own figures are not what is meant.

    Args:
        places: what was given as images.
        hint: how this command takes models.

    Raises:
        InputError: naming the first one.
    """
    for place in places:
        if holds_model(place):
            raise hlcli.InputError(f"{place} holds a model; images were expected.", hint)
