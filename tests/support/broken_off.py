"""Runs that end without warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hlcli
import hlcli.training.loop
from hlcli.recipe import Recipe


class PowerCut(Exception):
    """Stands for whatever ends a run without warning."""


def train_until(last_step: int, recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train so many steps, and break off in the next one."""
    real = hlcli.training.loop._step

    def step(training: Any, batches: Any) -> None:
        if training.progression.step == last_step:
            raise PowerCut
        real(training, batches)

    with monkeypatch.context() as patch:
        patch.setattr(hlcli.training.loop, "_step", step)
        with pytest.raises(PowerCut):
            hlcli.train(recipe, folder)
