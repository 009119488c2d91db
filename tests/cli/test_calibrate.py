"""`hlcli calibrate`: tables, JSON alone, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import failed, run
from model_states import cpu_state
from tiny import tiny_recipe

from hlcli.building import build_model
from hlcli.models.folder import read_model, save_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    recipe = tiny_recipe("data.num_val=30", "eval.threshold=0.5")
    labels = recipe.data.label_space()
    save_model(tmp_path / "é", cpu_state(build_model(recipe, labels)), recipe, labels, thresholds=None, facts={})
    return tmp_path / "é"


def test_tables_fit_80_columns_and_the_model_is_written(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = run("calibrate", model)
    assert done.exit_code == 0, done.output
    for text in ("temperature ", "val before", "test after", "ECE", "F1_macro", "coarse", "Fitted on val"):
        assert text in done.stdout, done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
    assert f"Model: {model}" in done.stderr
    told = json.loads(run("eval", model, "--json").stdout)["metrics"]
    assert told["threshold"] == read_model(model).thresholds[-1]


def test_json_is_alone(model: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = ["--method", "platt", "--thresholds", "per-label", "--by", "F1_micro", "--out", out, "--json"]
    done = run("calibrate", model, *words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["method"], told["by"], told["split"], told["model"]) == ("platt", "F1_micro", "val", str(out))
    assert [len(level["slopes"]) for level in told["levels"]] == [3, 5, 12]
    assert [len(thresholds) for thresholds in told["thresholds"]] == [3, 5, 12]
    assert set(told["shared"]["fine"]) <= set(read_model(model).labels.label_names)
    failed(run("calibrate", model, "--out", out), "exists", "--overwrite")
    shown = run("calibrate", model, "--method", "platt", "--out", out, "--overwrite")
    assert "labels with few examples share their level's" in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--method", "platts"], "Did you mean platt?"),
        (["--thresholds", "global", "--by", "mAP"], "--by must be one of F1_micro, F1_macro, F1_samples (got mAP)"),
        (["--split", "dev"], "shapes has no split 'dev'"),
    ],
)
def test_mistakes_are_explained(model: Path, words: list[str], text: str):
    failed(run("calibrate", model, *words), text)
