"""A small model with the thresholds that tests of calibration begin with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from model_states import cpu_state
from tiny import tiny_recipe

from hlcli.building import build_model
from hlcli.models.folder import save_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that nobody has trained."""
    folder = tmp_path_factory.mktemp("made") / "model"
    torch.manual_seed(3)
    recipe = tiny_recipe("data.num_val=60", "data.num_test=30")
    labels = recipe.data.label_space()
    state = cpu_state(build_model(recipe, labels))
    save_model(folder, state, recipe, labels, thresholds=(0.45, 0.5, 0.55), facts={"epoch": 2})
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "model"))
