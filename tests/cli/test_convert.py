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
    recipe = tiny_recipe()
    labels = recipe.data.label_space()
    state = cpu_state(build_model(recipe, labels))
    save_model(tmp_path / "model", state, recipe, labels, thresholds=None, facts={"epoch": 1})
    return tmp_path / "model"


def test_there_and_back(model: Path, tmp_path: Path, tiny_file: Path):
    up, back = tmp_path / "new" / "model_best.pth.tar", tmp_path / "back"
    done = run("convert", model, "--to", "upstream", "--out", up)
    assert (done.exit_code, done.stdout) == (0, f"{up}\n")
    done = run("convert", up, "--recipe", tiny_file, "--out", back)
    assert (done.exit_code, done.stdout) == (0, f"{back}\n")
    done = run("convert", up, "--recipe", tiny_file, "--out", back, "--overwrite", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"path": str(back)})
    assert "Next:" not in done.stderr
    first, second = read_model(model).model.state_dict(), read_model(back).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_export_writes_the_same_file(model: Path, tmp_path: Path):
    run("convert", model, "--to", "upstream", "--out", tmp_path / "one.pth")
    done = run("export", model, "--to", "upstream", "--out", tmp_path / "two.pth")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'two.pth'}\n")
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pth", "two.pth"))
    assert (one["epoch"], one["arch"]) == (two["epoch"], two["arch"])
    assert list(one["state_dict"]) == list(two["state_dict"])
    assert all(torch.equal(value, two["state_dict"][name]) for name, value in one["state_dict"].items())
    again = run("export", model, "--to", "upstream", "--out", tmp_path / "two.pth", "--overwrite", "--json")
    assert json.loads(again.stdout) == {"path": str(tmp_path / "two.pth")}


def test_mistakes_are_explained_without_a_traceback(model: Path, tmp_path: Path, tiny_file: Path):
    (tmp_path / "w.pth").write_bytes(b"abc")
    run("convert", model, "--to", "upstream", "--out", tmp_path / "up.pth")
    new = tmp_path / "new"
    for words, code, text in (
        (["w.pth", "--out", new], 2, "needs --recipe"),
        (["w.pth", "--out", new, "--recipe", tiny_file], 2, "w.pth is damaged"),
        (["gone.pth", "--out", new, "--recipe", tiny_file], 2, "is not a file"),
        (["model", "--out", new, "--recipe", tiny_file], 2, "is not a file"),
        (["gone", "--out", new, "--to", "upstream"], 2, "does not exist"),
        (["model", "--out", new, "--to", "upstream", "--recipe", tiny_file], 2, "--recipe has no use"),
        (["model", "--out", new, "--to", "upstream", "--set", "model.hidden_dim=64"], 2, "--set has no use"),
        (["up.pth", "--out", new, "--to", "onnx"], 2, "model or upstream was expected (got 'onnx')"),
        (["model", "--out", new, "--to", "onnx"], 2, "`hlcli export MODEL --to onnx`"),
        (["up.pth", "--out", model, "--recipe", tiny_file], 2, "Give --overwrite"),
        (["model", "--out", tmp_path / "up.pth", "--to", "upstream"], 2, "Give --overwrite"),
        (["up.pth", "--out", new, "--recipe", tiny_file, "--set", "model.hidden_dim=64"], 2, "does not fit"),
        (["up.pth", "--out", tmp_path / "w.pth" / "x", "--recipe", tiny_file], 2, "cannot be written"),
        (["model", "--out", tmp_path / "w.pth" / "x", "--to", "upstream"], 2, "cannot be written"),
    ):
        failed(run("convert", tmp_path / words[0], *words[1:]), text, code=code)
    assert not new.exists()
