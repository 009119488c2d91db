"""Reports from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from report_pages import SMALL
from tiny_captioner import write_captioner
from tiny_label_models import save_tiny_label_model
from typer.testing import CliRunner

from hlcli.cli import main

runner = CliRunner()


def call(*words: object, code: int = 0):
    result = runner.invoke(main.app, ["--quiet", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_label_model(tmp_path_factory.mktemp("models") / "m", "linear", *SMALL)


def test_visualize_writes_the_page_beside_other_figures(model: Path, tmp_path: Path):
    assert call("visualize", "report", model).stdout == f"{model / 'figures' / 'report.html'}\n"
    out = tmp_path / "page.html"
    document = json.loads(call("visualize", "report", model, "--split", "val", "--out", out, "--json").stdout)
    assert document == {"files": [str(out)], "failures": []}
    assert "6 images of" in out.read_text(encoding="utf-8")


def test_eval_measures_and_writes_the_page(model: Path, tmp_path: Path):
    page = tmp_path / "new" / "page.html"
    result = call("eval", model, "--report", page, "--json")
    assert json.loads(result.stdout)["images"] == 10
    assert result.stderr == ""  # --quiet
    assert page.is_file()
    said = runner.invoke(main.app, ["eval", str(model), "--report", str(page)])
    assert f"Report: {page}" in said.stderr


def test_eval_of_a_labelled_folder(model: Path, photos: Path, tmp_path: Path):
    names = sorted(path.name for path in photos.iterdir())
    (tmp_path / "labels.csv").write_text("image,labels\n" + "".join(f"{name},tree\n" for name in names), "utf-8")
    page = tmp_path / "page.html"
    call("eval", model, "--images", photos, "--labels", tmp_path / "labels.csv", "--report", page)
    assert names[0] in page.read_text(encoding="utf-8")


def test_eval_of_a_captioner(tmp_path: Path):
    page = tmp_path / "page.html"
    call("eval", write_captioner(tmp_path / "m"), "--report", page)
    assert "Worst captions" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["eval", "MODEL", "--report", "page.txt"], "page.txt does not end in .html"),
        (["eval", "MODEL", "--images", "x", "--report", "page.html"], "--report measures, which needs labels."),
        (["eval", "--captions", "a.json", "--references", "b.json", "--report", "p.html"], "--report has no use"),
        (["visualize", "report", "MODEL", "--images", "x"], "report has no use for --images"),
        (["visualize", "report", "MODEL", "--split", "none"], "has no split 'none'"),
    ],
)
def test_mistakes_are_named(model: Path, words: list[str], message: str):
    assert message in call(*[word.replace("MODEL", str(model)) for word in words], code=2).stderr
