"""What the shell offers after the tab key, beside commands and options: names that hlcli knows. No torch here."""

from __future__ import annotations

from collections.abc import Iterable

FIGURES = ("attention", "captions", "curves", "labels", "levels", "scenes")


def recipe_names(incomplete: str) -> list[str]:
    """Shipped recipes; files are completed by the shell where no name fits."""
    import hlcli

    return _beginning(hlcli.list_recipes(), incomplete)


def data_set_names(incomplete: str) -> list[str]:
    """All data sets."""
    import hlcli

    return _beginning(hlcli.data_set_classes(), incomplete)


def data_set_and_recipe_names(incomplete: str) -> list[str]:
    """Where either is taken."""
    return [*data_set_names(incomplete), *recipe_names(incomplete)]


def figure_names(incomplete: str) -> list[str]:
    """What `hlcli visualize` draws."""
    return _beginning(FIGURES, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
