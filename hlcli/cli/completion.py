"""What the shell offers after the tab key, beside commands and options: names that hlcli knows. No torch here."""

from __future__ import annotations

from collections.abc import Iterable


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


def own_method_names(incomplete: str) -> list[str]:
    """Methods that `hlcli init` takes."""
    import hlcli

    methods = hlcli.section_classes("model")
    return _beginning([name for name, one in methods.items() if getattr(one, "own_photos", None)], incomplete)


def figure_names(incomplete: str) -> list[str]:
    """What `hlcli visualize` draws."""
    import hlcli

    return _beginning(hlcli.list_figures(), incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
