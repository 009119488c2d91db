"""Who uses a calibrated model: resumed predictions, exported files, cards, upstream files, figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_recipe

import hlcli
from hlcli.building import build_model
from hlcli.hub.card import write_card
from hlcli.metrics.calibration_maps import IDENTITY
from hlcli.models.description import read_document
from hlcli.models.folder import LoadedModel


def test_resumed_predictions_belong_to_one_calibration(folder: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "p.jsonl"
    hlcli.predict(folder, [photos], out=out)
    before = out.read_text(encoding="utf-8")
    hlcli.calibrate(folder, method="platt", min_examples=5)
    hlcli.predict(folder, [photos], out=out)
    assert out.read_text(encoding="utf-8") != before


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_exported_files_say_calibrated_scores(folder: Path, tmp_path: Path, method: str):
    found = hlcli.calibrate(folder, method=method, thresholds="per-label", min_examples=5)
    out = tmp_path / "m.pt2"
    hlcli.export(folder, to="torch", out=out)  # compares with PyTorch before it writes
    extra = {"hlcli.json": ""}
    program = torch.export.load(out, extra_files=extra)
    about = json.loads(extra["hlcli.json"])
    assert about["calibration"] == method
    assert [level["threshold"] for level in about["levels"]] == json.loads(json.dumps(found.thresholds))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    scores = program.module()({"images": torch.from_numpy(image.transpose(2, 0, 1)[None].copy())})["scores"]
    expected = hlcli.load(folder).predict(image)[0].levels[-1]
    np.testing.assert_allclose(scores[0].detach().numpy(), expected, atol=1e-5)


def test_a_network_of_fine_labels_exports_calibrated_levels(tmp_path: Path):
    tree = {**tiny_recipe("data.num_val=60", "data.num_test=30").to_dict(), "model": {"method": "linear"}}
    recipe = hlcli.Recipe.from_dict(tree, ["backbone.stage=3", "eval.consistent=true"])
    torch.manual_seed(0)
    labels = recipe.data.label_space()
    loaded = LoadedModel(build_model(recipe, labels).eval(), recipe, labels, None, {})
    found = hlcli.calibrate(loaded, method="platt", min_examples=5)
    hlcli.export(found.model, to="torch", out=tmp_path / "m.pt2")
    assert found.map.levels[0] != IDENTITY


def test_cards_and_upstream_files_tell_of_it(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    hlcli.calibrate(folder, method="platt", thresholds="per-label", min_examples=5)
    card = write_card(read_document(folder), "jane/shapes")
    assert "## Calibration\n\nMethod `platt`, fitted on split `val`." in card
    assert "| one per label |" in card
    hlcli.export_upstream(folder, out=tmp_path / "hleg.pth")
    assert "the calibration of scores (platt)" in caplog.text


def test_attention_figures_show_calibrated_scores(folder: Path, photos: Path, tmp_path: Path):
    hlcli.calibrate(folder, method="platt", thresholds="per-label", min_examples=5)
    made = hlcli.visualize("attention", folder, images=[photos], out=tmp_path / "figures")
    assert made.files
