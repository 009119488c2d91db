from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command_line import failed, run
from tiny import tiny_recipe

import hlcli
from hlcli.models.folder import read_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hlcli.train(tiny_recipe("train.epochs=1"), tmp_path_factory.mktemp("é") / "run 漢").folder


def test_metrics_are_a_table_or_json_alone(model: Path):
    table, document = run("eval", model), run("eval", model, "--json", "--per-label")
    assert table.exit_code == document.exit_code == 0
    for text in ("mAP", "coarse", "middle", "fine", "10 images"):
        assert text in table.stdout
    values = json.loads(document.stdout)
    assert (values["split"], values["images"]) == ("test", 10)
    assert len(values["labels"]) == 20
    assert f"{values['metrics']['mAP']:.4f}" in table.stdout


def test_thresholds_come_from_where_the_option_says(model: Path, tmp_path: Path):
    def fine(*words: object) -> float:
        return json.loads(run("eval", model, "--split", "test", "--json", *words).stdout)["metrics"]["threshold"]

    own = read_model(model).thresholds
    assert own is not None
    assert fine() == fine("--thresholds", "val") == own[-1]
    assert fine("--thresholds", "0.33") == 0.33
    (tmp_path / "t.json").write_text('{"coarse": 0.1, "middle": 0.2, "fine": 0.3}')
    assert fine("--thresholds", tmp_path / "t.json") == 0.3


@pytest.mark.parametrize("name", ["o.jsonl", "o.csv", "o.parquet"])
def test_a_split_is_written_to_a_file_in_a_new_folder(model: Path, tmp_path: Path, name: str):
    out = tmp_path / "new" / "é" / name
    done = run("eval", model, "--split", "val", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 21
    if name.endswith("jsonl"):
        names = [json.loads(line)["image"] for line in out.read_text(encoding="utf-8").splitlines()]
    elif name.endswith("csv"):
        names = [row["image"] for row in csv.DictReader(out.open(newline=""))]
    else:
        names = pq.read_table(out)["image"].to_pylist()
    assert names == [f"shapes-val-{row:06d}" for row in range(21)]


def test_images_are_predicted_and_failures_give_exit_code_3(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    good = run("eval", model, "--images", photos, "--json")
    assert good.exit_code == 0, good.output
    document = json.loads(good.stdout)
    assert [Path(row["image"]).name for row in document["predictions"]] == ["ü 0.jpg", "ü 1.jpg", "ü 2.jpg"]
    assert document["failures"] == []
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    out = tmp_path / "p.jsonl"
    some = run("eval", model, "--images", photos, "--out", out, "--top-k", 1)
    assert some.exit_code == 3
    assert some.stdout == ""
    assert "1 image could not be predicted" in some.stderr
    assert len(out.read_text().splitlines()) == 3
    assert "broken.jpg" in (tmp_path / "p.failures.jsonl").read_text()
    told = json.loads(run("eval", model, "--images", photos, "--out", out, "--json").stdout)
    assert sorted(told) == ["failures", "out"]  # the predictions are in the file, and not "none" here
    none = run("eval", model, "--images", photos / "broken.jpg", "--json")
    assert none.exit_code == 3
    assert json.loads(none.stdout)["predictions"] == []
    monkeypatch.chdir(photos)
    shown = run("eval", model, "--images", "ü 0.jpg", "ü 1.jpg", "--top-k", 2)
    assert shown.exit_code == 0, shown.output
    assert "ü 1.jpg" in shown.stdout


def test_a_labelled_folder_is_measured(model: Path, photos: Path, tmp_path: Path):
    label = tiny_recipe().data.label_space().label_names[0]
    labels = tmp_path / "l.csv"
    labels.write_text(f"image,labels\nü 0.jpg,{label}\nü 1.jpg,\n", encoding="utf-8")
    done = run("eval", model, "--images", photos, "--labels", labels, "--json", "--out", tmp_path / "o.csv")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 2
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--split", "dev"], "shapes has no split 'dev'; it has train, val, test."),
        (["--thresholds", "nan"], "between 0 and 1 (got nan, nan, nan)"),
        (["--thresholds", "1.5"], "between 0 and 1"),
        (["--thresholds", "0"], "0 and 1 themselves are refused"),
        (["--thresholds", "gone.json"], "gone.json holds no thresholds"),
        (["--images", "gone"], "gone: no image there."),
        (["--images", "x" * 300], "no image there."),
        (["--images", "FOLDER"], "no image there."),
        (["--images", "FOLDER", "--split", "test"], "--split and --images exclude each other"),
        (["--images", "FOLDER", "--per-label"], "--per-label measures"),
        (["--images", "FOLDER", "--thresholds", "self"], "--thresholds self needs labels"),
        (["--labels", "gone.csv"], "--labels needs one folder of images"),
        (["--labels", "gone.csv", "--images", "FOLDER"], "gone.csv does not exist"),
        (["--top-k", "3"], "--top-k is for images without labels"),
        (["--out", "o.txt"], "must be one of .jsonl, .csv, .parquet (got '.txt')"),
        (["--out", "FOLDER.csv"], "is a folder"),
        (["--set", "data.image_size=64"], "data.image_size is (64, 64), but the model was trained with (32, 32)"),
        (["--set", "model.hidden_dim=64"], "its model and backbone are what they are"),
        (["--set", "train.colour=1"], "train.colour: unknown key"),
        (["--recipe", "gone"], "gone is neither a file nor a shipped recipe"),
        (["--recipe", "quickstart"], "data.image_size is (64, 64)"),
        (["--top-k", "0"], "Invalid value for '--top-k'"),
    ],
)
def test_mistakes_are_explained_before_any_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str
):
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "empty.csv"):
        (tmp_path / name).mkdir()
    done = run("eval", model, *(word.replace("FOLDER", "empty") for word in words))
    failed(done, text)


def test_an_older_result_survives_a_mistake(model: Path, photos: Path, tmp_path: Path):
    out = tmp_path / "o.jsonl"
    out.write_text("old")
    failed(run("eval", model, "--images", photos / "gone", "--out", out))
    assert out.read_text() == "old"
    failed(run("eval", model, "--images", photos, "--out", photos / "ü 0.jpg" / "o.jsonl"), "cannot be written")


def test_a_model_among_the_images_is_refused(model: Path, photos: Path):
    for words in (["--images", photos, photos, model], [model, model]):
        failed(run("eval", *words), "holds a model; images were expected", "hlcli eval MODEL --images", "hlcli compare")


def test_another_program_s_model_beside_photos_is_no_matter(model: Path, photos: Path, tmp_path: Path):
    folder = tmp_path / "site"
    shutil.copytree(photos, folder)
    (folder / "model").mkdir()
    for place in (folder, folder / "model"):
        (place / "model.json").write_text('{"format": "layers-model"}')
    assert run("eval", model, "--images", folder, "--out", tmp_path / "o.jsonl").exit_code in (0, 3)


def test_an_out_with_too_long_a_name_is_refused(model: Path, photos: Path):
    words, told = ("eval", model, "--images", photos, "--out"), "cannot be written: File name too long"
    failed(run(*words, "o" * 300 + "/o.jsonl"), told)
    failed(run(*words, "o" * 300 + ".jsonl"), told, code=1)


def test_what_is_no_model_is_explained(tmp_path: Path, model: Path):
    failed(run("eval", tmp_path / "gone"), "does not exist")
    failed(run("eval", tmp_path), "holds no model")
    (tmp_path / "w.pth").write_bytes(b"abc")
    failed(run("eval", tmp_path / "w.pth"), "needs --recipe")
    failed(run("eval", tmp_path / "w.pth", "--recipe", model / "recipe.yaml"), "w.pth is damaged")
    shutil.copytree(model, tmp_path / "copy")
    weights = tmp_path / "copy" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:99])
    failed(run("eval", tmp_path / "copy"), "cannot be read")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(model: Path, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.jpg")
    done = run("eval", model, "--images", tmp_path / "pipe.jpg", "--json")
    assert done.exit_code == 3, done.output
    (failure,) = json.loads(done.stdout)["failures"]
    assert "it is a pipe, a socket or a device, not a file" in failure["error"]


def test_files_that_are_left_aside_are_counted_once(model: Path, photos: Path):
    (photos / "notes.txt").write_text("no image")
    (photos / "broken.jpg").unlink(missing_ok=True)
    assert run("eval", model, "--images", photos).stderr.count("are left aside") == 1


def test_settings_of_evaluation_can_be_changed(model: Path):
    done = run("eval", model, "--set", "data.num_test=3", "--set", "eval.consistent=true", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 3
