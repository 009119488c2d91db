"""`hlcli compare`: tables, JSON alone, files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from command_line import failed, run
from model_states import cpu_state
from rich.console import Console
from tiny import tiny_recipe

from hlcli.building import build_model
from hlcli.cli import compare_report
from hlcli.comparison.results import ComparisonTable
from hlcli.models.folder import save_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three networks nobody has trained."""
    folder, found = tmp_path_factory.mktemp("é"), []
    for seed in range(3):
        torch.manual_seed(seed)
        recipe = tiny_recipe(f"train.seed={seed}")
        labels = recipe.data.label_space()
        found.append(folder / f"run {seed}")
        state = cpu_state(build_model(recipe, labels))
        save_model(found[-1], state, recipe, labels, thresholds=(0.4, 0.5, 0.5), facts={})
    return found


def test_tables_fit_80_columns(models: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    done = run("compare", *models, "--resamples", 50)
    assert done.exit_code == 0, done.output
    for text in (
        "│ B │",
        "B less A",
        "C less A",
        "p corrected",
        "test, 10 images",
        "train.seed",
        "Holm",
    ):
        assert text in done.stdout, done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in [line.strip("│ ")[-1:] for line in done.stdout.splitlines()]  # no cell was cut


def test_keys_of_recipes_are_not_broken_however_long_their_values(capsys: pytest.CaptureFixture):
    values = [f"{'ab ' * 9}{model}" for model in range(4)]
    rows = (("model.encoder_layers", *values), ("objective.expected_positives", *values))
    table = ComparisonTable("recipes", ("key", *"ABCD"), rows, "", is_numeric=False)
    Console(width=80).print(compare_report._as_rich(table))
    told = capsys.readouterr().out
    assert "│ model.encoder_layers         │" in told
    assert "│ objective.expected_positives │" in told
    assert max(map(len, told.splitlines())) <= 80


def test_json_is_alone_and_files_are_written(models: list[Path], tmp_path: Path):
    out = tmp_path / "c.md"
    words = ["--split", "val", "--metrics", "mAP, CF1", "--set", "data.num_val=12", "--resamples", 20, "--out", out]
    done = run("compare", *models[:2], *words, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["split"], told["images"], list(told["metrics"])) == ("val", 12, ["mAP", "CF1"])
    assert [row["metric"] for row in told["differences"]] == ["mAP", "CF1"]
    assert out.read_text(encoding="utf-8").startswith("# Comparison on val\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--metrics", "zebra"], "--metrics zebra: it is not measured"),
        (["--metrics", ","], "--metrics names no metric"),
        (["--out", "c.csv"], "must be one of .json, .md (got '.csv')"),
        (["--out", f"{__file__}/c.md"], "cannot be written: Not a directory."),
        (["--split", "dev"], "shapes has no split 'dev'"),
        (["--resamples", "0"], "Invalid value for '--resamples'"),
        (["gone"], "gone does not exist"),
    ],
)
def test_mistakes_are_explained(models: list[Path], words: list[str], text: str):
    failed(run("compare", *models[:2], *words), text)


def test_one_model_is_not_enough(models: list[Path]):
    failed(run("compare", models[0]), "Two models at least are needed")
