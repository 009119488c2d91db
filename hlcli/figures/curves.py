"""Figures of how a run went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hlcli.errors import InputError
from hlcli.figures.files import Figures
from hlcli.recipe import Recipe
from hlcli.runs import Run
from hlcli.visualization.curves import curves_figure
from hlcli.visualization.saving import save_figure

if TYPE_CHECKING:
    from hlcli.models.opening import GivenModel


def draw_curves(folder: GivenModel, out: Path, file_format: str) -> Figures:
    """Losses, learning rate and metrics of a run: `curves.png`.

    Raises:
        CheckpointError: when the folder is not a run.
        InputError: when the run has recorded nothing yet, or a model stands for it.
    """
    if not isinstance(folder, str | Path):
        raise InputError("A model says nothing of how its run went.", "Give the folder of the run.")
    run = Run(Path(folder))
    recipe = Recipe.from_yaml(run.recipe_path())
    events = run.events()
    if not events:
        raise InputError(f"{run.metrics_file} is empty.", "Wait until the run has made its first steps.")
    figure = curves_figure(events, select_by=recipe.select_by, title=str(folder))
    return Figures([save_figure(figure, out, "curves", file_format)])
