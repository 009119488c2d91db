"""`hlcli export`: the file, the table, the page's programs, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import failed, run
from PIL import Image
from tiny import tiny_recipe

pytest.importorskip("onnxruntime", reason="the extra `export` is not installed")

from model_states import cpu_state

import hlcli
from hlcli.building import build_model
from hlcli.exporting import formats
from hlcli.models.folder import save_model
from hlcli.recipe import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, photos, and its two files as the page calls them."""
    folder = tmp_path_factory.mktemp("work")
    tree = {**tiny_recipe().to_dict(), "model": {"method": "linear"}}
    recipe = Recipe.from_dict(tree, ["data.normalization=imagenet", "backbone.stage=3"])
    torch.manual_seed(0)
    labels = recipe.data.label_space()
    save_model(
        folder / "model", cpu_state(build_model(recipe, labels)), recipe, labels, thresholds=(0.5, 0.45, 0.5), facts={}
    )
    (folder / "photos").mkdir()
    for number in range(9):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    (folder / "photo.jpg").write_bytes((folder / "photos" / "3.png").read_bytes())
    return folder


def test_the_file_and_its_differences(folder: Path):
    out = folder / "quickstart.onnx"
    done = run("export", folder / "model", "--to", "onnx", "--out", out, "--images", folder / "photos", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["path"], told["files"], told["any_size"]) == (str(out), [str(out)], True)
    assert "| `linear` | any, behind a CNN |" in PAGE
    assert out.is_file()
    tried = {row["inputs"] for row in told["differences"]}
    assert tried >= {"pictures 4 × 32×32", "pictures 1 × 32×32", "noise 2 × 96×64", "noise 2 × 32×128"}
    assert {row["output"] for row in told["differences"]} == {"scores_coarse", "scores_middle", "scores"}
    assert all(0 <= row["greatest"] < 1e-5 for row in told["differences"])
    failed(run("export", folder / "model", "--to", "onnx", "--out", out), "exists", "--overwrite")
    failed(run("export", folder / "gone", "--to", "onnx", "--out", out / "x.onnx"), "cannot be written", "--out")


def test_the_page_runs_as_written(folder: Path, monkeypatch, capsys):
    """After the test above, which makes the first file."""
    monkeypatch.chdir(folder)
    done = run("export", "model", "--to", "torch", "--out", "quickstart.pt2")
    assert done.exit_code == 0, done.output
    assert "noise 2 × 96×64" in done.stdout
    assert done.stdout.endswith("\nquickstart.pt2\n")
    if not Path("quickstart.onnx").exists():  # run alone
        run("export", "model", "--to", "onnx", "--out", "quickstart.onnx")
    first, second = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[:2]
    names: dict[str, object] = {}
    exec(compile(first, "export.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    (predicted,) = hlcli.load("model", cpu=True).predict(["photo.jpg"])
    for line, level in zip(lines, ("coarse", "middle", "fine"), strict=True):
        expected = {row.name for row in predicted.labels if row.level == level}
        assert line.split(" ", 1)[0] == level
        assert set(re.findall(r"'([^']+)'", line)) == expected
    assert predicted.labels
    exec(compile(second, "export.md", "exec"), names)
    assert capsys.readouterr().out == f"torch.Size([3, {len(predicted.levels[-1])}])\n"


def test_help_docstring_and_page_name_every_format_and_its_ending():
    assert hlcli.export.__doc__ is not None
    texts = {"help": run("export", "--help").stdout, "docstring": hlcli.export.__doc__, "page": PAGE}
    for name, one in formats.FORMATS.items():
        missing = [place for place, text in texts.items() if one.suffix not in text or name not in text]
        assert not missing, f"{name} ({one.suffix}) is not named in: {', '.join(missing)}"


def test_mistakes_are_explained_without_a_traceback(folder: Path, monkeypatch):
    model, out = folder / "model", folder / "new"
    (folder / "bad.jpg").write_bytes(b"abc")
    for words, text in (
        ((model, "--to", "tflite", "--out", out), "onnx or torch was expected (got 'tflite')"),
        ((model, "--to", "upstream", "--out", out, "--images", folder / "photos"), "--images has no use"),
        ((model, "--to", "upstream", "--out", folder / "photos"), "photos is a folder"),
        ((model, "--to", "torch", "--out", folder / "new.onnx"), "ends in .pt2"),
        ((folder / "gone", "--to", "torch", "--out", folder / "new.pt2"), "does not exist"),
        ((model, "--to", "torch", "--out", folder / "new.pt2", "--images", folder / "none"), "no image there"),
        ((model, "--to", "torch", "--out", folder / "new.pt2", "--images", folder / "bad.jpg"), "bad.jpg"),
    ):
        failed(run("export", *words), text)
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    words = ("export", model, "--to", "onnx", "--out", folder / "new.onnx")
    failed(run(*words), "needs onnx and onnxscript and onnxruntime", "hlcli[export]", code=1)
    assert not [path for path in folder.iterdir() if path.name.startswith(("new", ".new"))]
