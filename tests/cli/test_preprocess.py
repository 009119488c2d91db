from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_files import write_coco
from command_line import failed, run
from PIL import Image
from voc_files import write_voc

from hlcli.data.datasets.coco import Coco
from hlcli.errors import RecipeError
from hlcli.recipe import read_section, section_classes

SMALL = ["--set", "num_train=4", "--set", "num_val=2", "--set", "num_test=0", "--set", "render_size=16"]


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
        (["shape"], 2, "There is no data set 'shape' to prepare; known: shapes, "),
        (["shape"], 2, "Did you mean shapes?"),
        (["shapes", "--set", "num_trian=3"], 2, "data.num_trian: unknown key (from --set). Did you mean num_train?"),
        (["shapes", "--set", "num_train"], 2, "expected section.key=value"),
        (["shapes", "--export", "mat"], 2, "the known formats are npy, lists, indices, captions and m2 (got 'mat')"),
        (["folder"], 2, "data.labels: is required"),
        (["folder", "--set", "images=gone", "--set", "labels=gone.csv"], 2, "data.labels: gone.csv does not exist"),
        (["intentonomy", "--root", "gone"], 2, "hlcli download intentonomy"),
        (["shapes", "--root", "file", *SMALL], 1, "cannot be written"),
        (["shapes", "--image-size", "-1"], 2, "--image-size"),
        (["shapes", "--workers", "0"], 2, "--workers"),
        (["--masks", "f", "shapes"], 2, "--masks is an option of intentonomy, not of shapes."),
        (["coco", "--difficult=ignore"], 2, "--difficult is an option of voc2007 and voc2012, not of coco."),
        (["coco", "--difficult=ignore"], 2, "hlcli preprocess coco --help"),
        (["coco", "--nonsense"], 2, "No such option: --nonsense"),
        (["voc2007", "--difficult", "maybe"], 2, "options.difficult: must be one of negative, positive or ignore"),
        (["intentonomy", "--max-missing", "2"], 2, "--max-missing"),
        (["coco", "--root", "gone"], 2, "hlcli download coco"),
        (["voc2012", "--root", "gone"], 2, "hlcli download voc2012"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(work_folder: Path, words: list[str], code: int, text: str):
    Path("file").write_text("")
    failed(run("preprocess", *words), text, code=code)
    assert [path.name for path in work_folder.iterdir()] == ["file"]


def test_without_a_name_the_data_sets_are_listed():
    shown = run("preprocess")
    assert shown.output == run("preprocess", "--help").output
    for name in section_classes("data"):
        assert f"\n  {name} " in shown.output


@pytest.mark.parametrize(
    ("name", "own", "others"),
    [
        (
            "coco",
            {"--keep-unlabelled", "--val-fraction", "--allow-partial", "--max-missing"},
            {"--masks", "--difficult"},
        ),
        ("voc2012", {"--difficult", "--train-on"}, {"--masks", "--val-fraction"}),
        ("intentonomy", {"--masks", "--mask-grid", "--labels", "--train-label-threshold"}, {"--keep-unlabelled"}),
        ("folder", set(), {"--masks", "--allow-partial", "--max-missing"}),
    ],
)
def test_help_of_a_set_shows_the_common_options_and_its_own_alone(name, own, others):
    shown = run("preprocess", name, "--help")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Example: hlcli preprocess {name}")
    words = set(shown.output.split())
    common = {"--root", "--source", "--set", "--image-size", "--workers", "--overwrite", "--export", "--json"}
    assert common | own <= words
    assert not others & words


def test_every_set_has_help_and_no_option_hides_a_common_one():
    for name, section in section_classes("data").items():
        options = section.prepare_options.model_fields  # type: ignore[attr-defined]
        assert run("preprocess", name, "--help").output.startswith(f"Example: hlcli preprocess {name}")
        assert not {"root", "source", "set", "overrides", "image_size", "workers", "export", "json"} & set(options)
        assert all(field.description for field in options.values())


def test_options_may_stand_before_the_name(tmp_path: Path):
    source = write_coco(tmp_path / "layout")
    options = ["--source", source, "--allow-partial", "--val-fraction=0.34", "--root", tmp_path, "--json"]
    done = run("preprocess", *options, "coco", "--workers", 1)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == {"train": 2, "val": 1, "test": 2}


def test_a_set_is_prepared_with_its_own_options_and_exported(tmp_path: Path):
    write_voc(tmp_path / "voc2012" / "VOC2012", ("train", "val"))
    words = ("preprocess", "voc2012", "--root", tmp_path, "--workers", 1, "--allow-partial", "--difficult", "positive")
    done = run(*words, "--export", "lists", "--image-size", 8)
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'voc2012' / 'store'}: train 2, val 2\n"), done.output
    assert "ignore_val.npy" in done.stderr
    assert "4 images lie inside the store" in done.stderr
    assert (tmp_path / "voc2012" / "lists" / "train.txt").read_text().splitlines()[0] == "000005\tchair,sofa"
    again = run(*words)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_one_section_can_be_read_without_the_others():
    assert read_section("data", {"dataset": "coco"}, ["data.hierarchy=true"]) == Coco(hierarchy=True)
    with pytest.raises(RecipeError) as caught:
        read_section("data", {"dataset": "coco", "image_size": 4}, ["data.hierachy=true"], source="x")
    assert str(caught.value) == (
        "x: data.image_size: must be at least 8, or must be a list (got 4).\n"
        "x: data.hierachy: unknown key (from --set). Did you mean hierarchy?"
    )
    with pytest.raises(RecipeError, match=r"data.dataset: must be one of .*\(got 'cocoa'\)\. Did you mean coco"):
        read_section("data", {"dataset": "cocoa"})
