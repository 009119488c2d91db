"""The choice of a task, by what the recipe's method learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hlcli.recipe import Recipe
from hlcli.tasks.base import Task

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_task(recipe: Recipe, accelerator: Accelerator) -> Task:
    """Open the data of a recipe for its task."""
    if recipe.model.task == "captions":
        from hlcli.tasks.captions import CaptionTask

        return CaptionTask(recipe, accelerator)
    from hlcli.tasks.labels import LabelTask

    return LabelTask(recipe, accelerator)
