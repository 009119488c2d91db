"""HSPNet in whole runs: resumed bit for bit, complete in its model folder, exchanged with the published program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from broken_off import train_until

import hlcli
from hlcli.clip import TextTower
from hlcli.errors import DataError, HlcliError, RecipeError
from hlcli.evaluation.labels import evaluate
from hlcli.models.conversion import export_upstream
from hlcli.recipe import Recipe
from hlcli.training.planning import plan_training

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    "quick_gelu": True,
}
LABELS, PARENTS = 12, 5


@pytest.fixture
def recipe_of(tmp_path: Path) -> Any:
    """Builds a recipe that trains in seconds; its graph is a file of the published form."""
    (tmp_path / "clip.json").write_text(json.dumps(CLIP))
    rng = np.random.default_rng(0)
    vectors = rng.random((LABELS + PARENTS, 30)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(tmp_path / "graph.npy", vectors @ vectors.T)
    tree = {
        "data": {
            "dataset": "shapes", "image_size": 32, "workers": 0, "normalization": "clip", "labels_kept": "single",
            "num_train": 32, "num_val": 12, "num_test": 8,
        },
        "backbone": {"name": f"clip:{tmp_path / 'clip.json'}", "pretrained": False},
        "model": {"method": "hspnet", "graph": str(tmp_path / "graph.npy"), "gcn_hidden": 8},
        "objective": {"loss": "splc"},
        "optim": {"optimizer": "adam_twd", "lr": 1e-3},
        "train": {"epochs": 2, "batch_size": 8, "ema_decay": 0.9, "cpu": True, "checkpoint_every_steps": None},
        "eval": {"batch_size": 4, "select_by": "mAP"},
    }  # fmt: skip
    return lambda *overrides: Recipe.from_dict(tree, overrides)


@pytest.mark.parametrize("broken_at", [3, 7])
def test_a_broken_off_run_resumes_bit_for_bit(
    broken_at: int, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once while the batch norms rest, once after."""
    recipe = recipe_of("train.checkpoint_every_steps=2")
    whole = hlcli.train(recipe, tmp_path / "whole")
    train_until(broken_at, recipe, tmp_path / "cut", monkeypatch)  # a step after a checkpoint
    resumed = hlcli.train(recipe, tmp_path / "cut", resume=True)
    one, two = (torch.load(run.checkpoint_file, weights_only=True) for run in (whole, resumed))
    for part in ("model", "ema"):
        for key, value in one[part].items():
            assert torch.equal(two[part][key], value), key
    counter = "backbone.bn1.num_batches_tracked"
    assert one["model"][counter] == 4  # of eight steps: none in the first epoch


def test_a_model_folder_is_complete_and_so_is_its_published_form_with_the_graph(recipe_of: Any, tmp_path: Path) -> None:
    recipe = recipe_of("train.epochs=1")
    run = hlcli.train(recipe, tmp_path / "run")
    assert "graph.npy" in json.loads((run.folder / "environment.json").read_text())["files"]["label_graph"]
    (tmp_path / "graph.npy").rename(tmp_path / "moved.npy")
    metrics = evaluate(run.folder, split="test").metrics
    assert 0 < metrics["mAP"] <= 1
    file = export_upstream(run.folder, out=tmp_path / "model-highest.ckpt")
    state = torch.load(file, weights_only=True)
    assert "child_prompt_learner.token_suffix" in state
    again = evaluate(file, split="test", recipe=recipe_of(f"model.graph={tmp_path / 'moved.npy'}")).metrics
    assert dict(again) == dict(metrics)


def test_an_evaluation_reads_the_texts_of_labels_once(
    recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = hlcli.train(recipe_of("train.epochs=1", "model.graph=clip"), tmp_path / "run")
    counts: list[int] = []
    real = TextTower.forward

    def forward(self: TextTower, prompts: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
        counts.append(len(prompts))
        return real(self, prompts, ends)

    monkeypatch.setattr(TextTower, "forward", forward)
    evaluate(run.folder, split="val")  # of 12 images in three batches
    assert counts == [PARENTS, LABELS]


def test_a_run_is_planned_without_weights_or_files(recipe_of: Any, tmp_path: Path) -> None:
    (tmp_path / "graph.npy").unlink()
    costs = plan_training(recipe_of())
    assert costs.steps_per_epoch == 4
    assert 0 < costs.trained < costs.parameters
    assert "graph.npy" in costs.missing_file


def test_a_missing_graph_says_how_to_get_it(recipe_of: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"label_graph\.safetensors") as caught:
        hlcli.train(recipe_of("model.graph=prepared", f"data.root={tmp_path}"), tmp_path / "run")
    assert "hlcli embed graph" in str(caught.value.hint)


def test_a_run_holds_its_clip_configuration(recipe_of: Any, tmp_path: Path) -> None:
    """Files move and change; numbers of heads leave no trace in the shapes of weights."""
    recipe = recipe_of("train.epochs=1")
    run = hlcli.train(recipe, tmp_path / "run")
    metrics = evaluate(run.folder, split="test").metrics
    other = {**CLIP, "text_cfg": {**CLIP["text_cfg"], "heads": 1}, "quick_gelu": False}
    (tmp_path / "clip.json").write_text(json.dumps(other))
    assert dict(evaluate(run.folder, split="test").metrics) == dict(metrics)
    with pytest.raises(HlcliError, match=r"backbone\.name"):
        hlcli.train(recipe, run.folder, resume=True)
    (tmp_path / "clip.json").unlink()
    assert dict(evaluate(run.folder, split="test").metrics) == dict(metrics)


def test_a_last_part_of_one_image_is_refused_before_training(recipe_of: Any, tmp_path: Path) -> None:
    recipe = recipe_of("data.num_train=33", "train.last_batch=keep")  # 32 px: one cell
    with pytest.raises(RecipeError, match="one image and one grid cell"):
        hlcli.train(recipe, tmp_path / "run")
