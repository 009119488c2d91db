"""A data set that goes by two names is one data set, wherever it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from coco_files import write_coco
from command_line import run

import hlcli
from hlcli.cli.feature_report import find_source
from hlcli.data.data_set_names import data_section
from hlcli.data.datasets.coco import Coco
from hlcli.data.download import find_downloads
from hlcli.errors import InputError, RecipeError
from hlcli.recipe import Recipe, read_section

SMALL = {"data": {"dataset": "shapes", "num_train": 40}, "model": {"method": "linear"}}


def test_coco2014_is_coco_with_its_folder():
    assert data_section("coco2014", "data") == Coco(root="data")
    assert data_section("coco2014", "data").folder() == Path("data/coco")
    assert hlcli.data_set_name("coco2014") == hlcli.data_set_name("coco") == "coco"
    assert hlcli.data_set_name("coco2017") is None


def test_a_recipe_may_say_either_and_is_kept_with_the_own_name():
    tree = {**SMALL, "data": {"dataset": "coco2014", "image_size": 448}}
    assert Recipe.from_dict(tree).to_dict()["data"]["dataset"] == "coco"
    changed = Recipe.from_dict(SMALL, ["data.dataset=coco2014", "data.hierarchy=true"])
    assert changed.data == Coco(hierarchy=True)  # and none of the keys of `shapes` is left


def test_a_wrong_name_is_explained_as_ever():
    with pytest.raises(RecipeError, match=r"data\.dataset: must be one of .*Did you mean coco\?"):
        read_section("data", {"dataset": "coco20"})
    with pytest.raises(InputError, match=r"no data set 'coco2' to download; known: intentonomy, coco, .*mean coco\?"):
        find_downloads("coco2")


def test_a_set_named_twice_is_downloaded_once():
    assert [section.name for section in find_downloads(["coco2014", "voc2007", "coco"])] == ["coco", "voc2007"]


def test_commands_take_either_name(tmp_path: Path):
    shown = run("download", "coco2014", "--dry-run", "--root", tmp_path)
    assert shown.exit_code == 0, shown.output
    assert "train2014.zip" in shown.stdout
    assert "coco: The annotations are CC BY 4.0" in shown.stderr
    shown = run("preprocess", "coco2014", "--help")
    assert shown.output.replace("coco2014", "coco") == run("preprocess", "coco", "--help").output
    source = write_coco(tmp_path / "layout")
    made = run("preprocess", "coco2014", "--source", source, "--allow-partial", "--root", tmp_path, "--json",
               "--workers", 1)  # fmt: skip
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["store"] == str(tmp_path / "coco" / "store")
    assert find_source("coco2014", tmp_path, [], []) == Coco(root=tmp_path)


def test_headings_call_own_images_as_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "birds" / "more").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "birds" / "more")
    sections: list[dict[str, object]] = [
        {"dataset": "folder", "images": "..", "labels": "labels.csv"},
        {"dataset": "folder", "images": ".", "labels": "labels.csv"},
        {"dataset": "captions", "images": str(tmp_path / "birds"), "train": "a.json"},
        {"dataset": "huggingface", "path": str(tmp_path / "birds")},
        {"dataset": "huggingface", "path": "jane/birds"},
        {"dataset": "shapes"},
    ]
    titles = [read_section("data", section).title for section in sections]
    assert titles == ["birds", "more", "birds", "birds", "jane/birds", "shapes"]
