"""The choice of a task, by what the recipe's method learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hlcli.recipe import Recipe
from hlcli.task import Task

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_task(recipe: Recipe, accelerator: Accelerator) -> Task:
    """Open the data of a recipe for its task."""
    if recipe.model.task == "captions":
        from hlcli.caption_task import CaptionTask

        return CaptionTask(recipe, accelerator)
    from hlcli.label_task import LabelTask

    return LabelTask(recipe, accelerator)
