"""What commands say beside their results, on stderr: where files lie, and what to type next. --quiet leaves it out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import hlcli

if TYPE_CHECKING:
    from hlcli import Recipe

logger = logging.getLogger(__name__)

_FEW_RECIPES = 3


def say(text: str) -> None:
    """One line on stderr, from the first process, unless asked to be quiet."""
    logger.info("%s", text)


def suggest(*words: str | Path) -> None:
    """A command to type next.

    Args:
        words: of the command line behind `hlcli`; words in capitals stand for what people choose.
    """
    say(f"Next: {command_line(*words)}")


def command_line(*words: str | Path) -> str:
    """`hlcli` and words, as they are typed."""
    return f"hlcli {' '.join(quote(_as_typed(word)) for word in words)}"


def _as_typed(word: str | Path) -> str:
    """A word of a command line; a path has lost a slash of `hf://`."""
    text = str(word)
    return text.replace("hf:/", "hf://", 1) if isinstance(word, Path) and text.startswith("hf:/") else text


def figures_of(recipe: Recipe) -> list[str]:
    """Kinds of figures that show where a model of labels looks, the best first; none if it has no maps."""
    kinds = []
    if recipe.model.offers("level_maps"):
        kinds.append("levels" if recipe.model.maps_every_level else "attention")
    if recipe.model.offers("cooccurrence"):
        kinds.append("scenes")
    return kinds


def suggest_training(data_set: str, key: str | None = None, file: Path | None = None) -> None:
    """Say which shipped recipes train on a data set.

    Args:
        data_set: its name.
        key: only methods that have this key of `model`, such as `label_embeddings`.
        file: what the key is set to; None: what it is by default.
    """
    methods = hlcli.section_classes("model")
    names = [
        row.name
        for row in hlcli.describe_recipes()
        if row.dataset == data_set and (key is None or key in methods[row.method].model_fields)
    ]
    if not names:
        suggest("recipes", "list")
        return
    given = [] if file is None else ["--set", f"model.{key}={file}"]
    others = names[1:_FEW_RECIPES]
    more = f" (or {', '.join(others)}{', …' if len(names) > _FEW_RECIPES else ''})" if others else ""
    say(f"Next: {command_line('train', '--recipe', names[0], *given)}{more}")


def asked_images(places: Sequence[Path]) -> str | Path:
    """How images were named, for another command line: a shell may have made many words of one pattern."""
    return places[0] if len(places) == 1 else "FOLDER"


def in_root(root: Path | None) -> list[str | Path]:
    """`--root`, if it was given."""
    return [] if root is None else ["--root", root]
