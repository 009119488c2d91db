"""Python's users write names and strings where the command line has sections and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_captioner import write_captioner

import hlcli
from hlcli.errors import InputError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_data_set_goes_by_its_name(monkeypatch: pytest.MonkeyPatch):
    assert hlcli.plan_download("voc2007", "data")[0].state == "missing"
    found = hlcli.debug_data("shapes", images=False)
    assert [counts.split for counts in found.splits] == ["train", "val", "test"]
    with pytest.raises(InputError, match="must be one of"):
        hlcli.preprocess("shaps")
    with pytest.raises(InputError, match=r"data/voc2007"):
        hlcli.preprocess("voc2007", source="data/voc2007")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hlcli.check_caption_file("a.csv"), r"\.jsonl, \.json"),
        (lambda: hlcli.score_captions("a.json", "b.json"), "a.json is missing"),
        (lambda: hlcli.import_vinvl("folder"), "folder/features.tsv"),
        (
            lambda: hlcli.copy_recipe("quickstart", "here.yaml") and hlcli.copy_recipe("quickstart", "here.yaml"),
            "exists",
        ),
        (lambda: hlcli.Run("runs/x").recipe_path(), "runs/x is not a run"),
        (lambda: hlcli.visualize("levels", "runs/x", out="figures"), "runs/x"),
        (lambda: hlcli.plan_images("photos", hlcli.FeatureOptions(backbone="clip:tiny"), out="x.hdf5"), "photos"),
        (lambda: hlcli.embed_labels("voc2007", "glove:none.txt", out="x.safetensors"), "none.txt"),
        (lambda: hlcli.embed_labels("voc2007", "glove:x", texts=hlcli.TextRules(names="none.yaml")), "none.yaml"),
        (lambda: hlcli.import_graph("voc2007", "none.npy", out="x.safetensors"), "none.npy|hierarchy"),
        (lambda: hlcli.evaluate("runs/x", images="photos", labels_file="labels.csv", out="p.jsonl"), "runs/x"),
        (lambda: hlcli.evaluate("runs/x", out="p.txt"), "the ending must be one of"),
    ],
)
def test_what_is_refused_is_refused_in_words(call: Any, message: str):
    with pytest.raises(InputError, match=message):
        call()


def test_captions_of_text_paths(tmp_path: Path, tiny_photo: str):
    model = str(write_captioner(tmp_path / "model"))
    assert hlcli.caption(model, [tiny_photo], out="captions.jsonl").failures == []
    assert hlcli.caption(model, tiny_photo).captions[0].image == tiny_photo
    assert Path("captions.jsonl").is_file()
    assert hlcli.failures_file("captions.jsonl") == Path("captions.failures.jsonl")


@pytest.fixture
def tiny_photo(tmp_path: Path) -> str:
    from PIL import Image

    Image.new("RGB", (80, 60), "red").save(tmp_path / "a.jpg")
    return "a.jpg"
