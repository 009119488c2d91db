"""SALGL in whole runs: resumed bit for bit with its counts, measured with its scenes, exchanged with published code."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from broken_off import train_until

import hlcli
from hlcli.evaluation.labels import evaluate
from hlcli.models.conversion import export_upstream
from hlcli.recipe import Recipe
from hlcli.runs import Run

from .salgl_parts import TINY


@pytest.mark.parametrize("assignment", ["soft", "hard"])
def test_a_broken_off_run_resumes_bit_for_bit_with_its_counts(
    assignment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"model.scene_assignment={assignment}", f"model.average_cooccurrence={assignment == 'soft'}".lower()]
    recipe = Recipe.from_dict(TINY, [*overrides, "model.dropout=0.1", "train.checkpoint_every_steps=2"])
    whole = hlcli.train(recipe, tmp_path / "whole")
    train_until(7, recipe, tmp_path / "cut", monkeypatch)  # in the second epoch, a step after a checkpoint
    assert torch.load(Run(tmp_path / "cut").checkpoint_file, weights_only=True)["progression"]["step"] == 6
    resumed = hlcli.train(recipe, tmp_path / "cut", resume=True)
    one, two = (torch.load(run.checkpoint_file, weights_only=True) for run in (whole, resumed))
    name = "head.cooccurrence.counts"
    assert one["model"][name].any()
    assert torch.equal(one["ema"][name], one["model"][name]) == (assignment == "hard")
    for part in ("model", "ema"):
        for key, value in one[part].items():
            assert torch.equal(two[part][key], value), key


def test_a_run_is_measured_with_its_scenes_and_so_is_its_published_form(tmp_path: Path) -> None:
    recipe = Recipe.from_dict(TINY, ["train.epochs=1"])
    run = hlcli.train(recipe, tmp_path / "run")
    metrics = evaluate(run.folder, split="test").metrics
    assert 0 <= metrics["scene/entropy"] <= math.log(3) + 1e-6
    logged = [event["metrics"] for event in run.events() if event["event"] == "evaluation"]
    assert all("scene/entropy" in values for values in logged)
    file = export_upstream(run.folder, out=tmp_path / "published.pth")
    assert "module.comatrix" in torch.load(file, weights_only=True)
    again = evaluate(file, split="test", recipe=recipe).metrics
    assert dict(again) == dict(metrics)
