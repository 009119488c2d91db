"""Data sets by name: which there are, and their sections, as all verbs of data take them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hlcli.errors import nearest
from hlcli.recipe import read_section, section_classes
from hlcli.sections import DataSection


def data_set_classes() -> Mapping[str, type[DataSection]]:
    """The sections of all data sets, by name."""
    return section_classes("data")  # type: ignore[return-value]


def data_section(
    name: str, root: str | Path | None = None, overrides: Sequence[str] = (), *, source: str = "data"
) -> DataSection:
    """A data set with its settings, as `preprocess`, `embed_labels` and others take it.

    Args:
        name: of the data set.
        root: the data root; default `$HLCLI_DATA`, else `./data`.
        overrides: `key=value` or `data.key=value`.
        source: what messages call the settings.

    Raises:
        RecipeError: for an unknown data set or key.

    Examples:
        >>> data_section("shapes", overrides=["num_train=100"]).num_train
        100
    """
    values: dict[str, Any] = {"dataset": name}
    if root is not None:
        values["root"] = str(root)
    keys = [entry if entry.startswith("data.") else f"data.{entry}" for entry in overrides]
    return read_section("data", values, keys, source=source)


def as_data_section(data: DataSection | str) -> DataSection:
    """A data set as verbs get it: its section, or its name alone.

    Raises:
        RecipeError: for an unknown name, or a data set that needs more than its name.
    """
    return data_section(data) if isinstance(data, str) else data


def near_data_set(name: str, known: Collection[str] | None = None) -> str | None:
    """The data set that somebody may have meant.

    Args:
        name: what was said.
        known: of which data sets; default all.

    Examples:
        >>> near_data_set("intentonomie")
        'intentonomy'
    """
    sections = {own: one for own, one in data_set_classes().items() if known is None or own in known}
    names = {spelt: own for own, one in sections.items() for spelt in (own, *one.other_names)}
    near = nearest(name.lower(), names, likeness=0.5)
    return names[near[0]] if near else None
