from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from hlcli.cli.main import app

SMALL = ["--set", "num_train=4", "--set", "num_val=2", "--set", "num_test=0", "--set", "render_size=16"]


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_store_is_told_in_a_line_or_as_json_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HLCLI_DATA", str(tmp_path / "é"))
    store = tmp_path / "é" / "shapes" / "store"
    done = run("preprocess", "shapes", "--workers", 1, *SMALL)
    assert (done.exit_code, done.stdout) == (0, f"{store}: train 4, val 2\n")
    done = run("preprocess", "shapes", "--workers", 1, *SMALL, "--overwrite", "--json", "--export", "npy")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == {"train": 4, "val": 2}
    assert "train_label_vectors_shapes.npy" in done.stderr


def test_images_left_out_give_exit_code_3_and_json_counts_them(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    (tmp_path / "l.csv").write_text("image,labels,split\na.png,x,train\nb.png,x,train\n")
    words = ("preprocess", "folder", "--root", tmp_path, "--set", f"images={tmp_path}", "--set",
             f"labels={tmp_path / 'l.csv'}", "--image-size", 4, "--workers", 1, "--json")  # fmt: skip
    done = run(*words)
    assert done.exit_code == 3, done.output
    assert json.loads(done.stdout) == {
        "store": str(tmp_path / "folder" / "store"), "images": {"train": 1}, "failures": 1, "notes": {},
    }  # fmt: skip
    assert "preprocess.failures.jsonl" in done.stderr
    (tmp_path / "l.csv").write_text("image,labels,split\nb.png,x,train\n")
    done = run(*words, "--overwrite")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "not one image could be prepared" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["circles"], 2, "data.dataset: must be one of shapes, folder, huggingface, intentonomy (got 'circles')"),
        (["shapes", "--set", "num_trian=3"], 2, "data.num_trian: unknown key (from --set). Did you mean num_train?"),
        (["shapes", "--set", "num_train"], 2, "expected section.key=value"),
        (["shapes", "--export", "mat"], 2, "the known format is npy (got 'mat')"),
        (["folder"], 2, "data.labels: is required"),
        (["folder", "--set", "images=gone", "--set", "labels=gone.csv"], 2, "data.labels: gone.csv does not exist"),
        (["intentonomy", "--root", "gone"], 2, "hlcli download intentonomy"),
        (["shapes", "--root", "file", *SMALL], 1, "cannot be written"),
        (["shapes", "--image-size", "-1"], 2, "--image-size"),
        (["shapes", "--workers", "0"], 2, "--workers"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, text: str
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HLCLI_DATA", raising=False)
    Path("file").write_text("")
    done = run("preprocess", *words)
    assert done.exit_code == code, done.output
    assert text in done.stderr
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
