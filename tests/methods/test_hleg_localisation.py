"""The localisation loss from the authors' mask file to trained weights, on photos of another grid than the masks'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from intentonomy_files import ROWS, image_id, write_annotations, write_photos
from tiny import TINY
from typer.testing import CliRunner

import hlcli
from hlcli.cli import main
from hlcli.errors import DataError
from hlcli.recipe import Recipe
from hlcli.runs import Run


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with a prepared Intentonomy: 9 photos, masks of 7 × 7."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "intentonomy"
    write_annotations(folder)
    write_photos(folder)
    rng = np.random.default_rng(0)
    masks = {}
    for split, rows in ROWS.items():
        for position in range(len(rows)):
            start, length = rng.integers(1, 200, 2).tolist()
            mask = {"size": [16, 24], "counts": [start, length % (384 - start), 384 - start - length % (384 - start)]}
            masks[f"low/{image_id(split, position)}.jpg"] = {"scores": [0.9], "masks": [mask], "image_shape": [16, 24]}
    (root / "masks.json").write_text(json.dumps(masks))
    words = ["preprocess", "intentonomy", "--root", str(root), "--allow-partial", "--masks", str(root / "masks.json")]
    result = CliRunner().invoke(main.app, words)
    assert result.exit_code == 0, result.output
    assert "train 4, val 2, test 3" in result.stdout
    return root


def train(root: Path, run: Path, **model: Any) -> Run:
    """Three steps of four photos each, in two parts, on a grid of 3 × 2."""
    tree = {
        **TINY,
        "data": {"dataset": "intentonomy", "root": str(root), "image_size": [96, 64], "workers": 0,
                 "normalization": "none", "horizontal_flip": True},
        "model": {**TINY["model"], "localisation_weight": 0.1, **model},
        "train": {**TINY["train"], "epochs": 3, "batch_size": 4, "accumulation_steps": 2, "log_every_steps": 1},
        "eval": {"batch_size": 2, "select_by": "F1_micro"},
    }  # fmt: skip
    return hlcli.train(Recipe.from_dict(tree), run)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return torch.load(run.checkpoint_file, weights_only=True)["model"]


def localisation(run: Run) -> list[float]:
    return [event["metrics"]["localisation"] for event in run.events() if event["event"] == "step"]


def test_the_loss_trains_only_where_it_is_differentiable(root: Path, tmp_path: Path) -> None:
    """As published it is a constant: its value is logged, but the weights are those of a run without it."""
    trained = train(root, tmp_path / "trained")
    constant = train(root, tmp_path / "constant", localisation_differentiable=False)
    without = weights(train(root, tmp_path / "without", localisation_weight=0))
    assert len(localisation(trained)) == 3
    assert all(value > 0 for value in localisation(trained) + localisation(constant))
    assert localisation(constant)[0] == pytest.approx(localisation(trained)[0], rel=1e-4)
    assert all(torch.equal(value, without[name]) for name, value in weights(constant).items())
    changed = [name for name, value in weights(trained).items() if not torch.equal(value, without[name])]
    assert any(name.startswith("backbone") for name in changed)
    assert any(name.startswith("head") for name in changed)


def test_both_trained_and_averaged_weights_are_evaluated(root: Path, tmp_path: Path) -> None:
    evaluations = [event for event in train(root, tmp_path / "run").events() if event["event"] == "evaluation"]
    assert [event["weights"] for event in evaluations] == ["regular", "ema"] * 3
    result = hlcli.evaluate(tmp_path / "run", split="test")
    assert 0 <= result.metrics["mAP"] <= 1


def test_a_store_without_masks_is_refused_with_the_command_that_makes_them(root: Path, tmp_path: Path) -> None:
    words = [
        "preprocess",
        "intentonomy",
        "--root",
        str(root),
        "--set",
        f"store={tmp_path / 'store'}",
        "--allow-partial",
    ]
    assert CliRunner().invoke(main.app, words).exit_code == 0
    tree = {
        **TINY,
        "data": {"dataset": "intentonomy", "store": str(tmp_path / "store"), "image_size": 32, "workers": 0},
        "model": {**TINY["model"], "localisation_weight": 0.1},
        "train": {**TINY["train"], "batch_size": 4},
    }
    with pytest.raises(DataError, match=r"no object masks.*hlcli preprocess intentonomy --masks FILE"):
        hlcli.train(Recipe.from_dict(tree), tmp_path / "run")
