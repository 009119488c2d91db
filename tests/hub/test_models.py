"""Models on the hub stand wherever a model is expected; what is pushed says nothing of its author's disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from command_line import run
from hub_cache import put_into_cache, use_cache
from hub_server import TOKEN, running_hub
from model_states import cpu_state
from noise_photos import write_photos
from safetensors.torch import load_file
from tiny import tiny_recipe
from tiny_captioner import captioner_recipe, write_captioner

import hlcli
from hlcli.building import build_model
from hlcli.data.labels import LabelSpace
from hlcli.errors import HlcliError
from hlcli.hub.card import write_card
from hlcli.hub.names import HubName
from hlcli.hub.public_recipe import without_places
from hlcli.models.folder import copy_model, model_facts, save_model
from hlcli.recipe import Recipe


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with the models jane/words (captions) and jane/shapes (labels)."""
    cache = use_cache(tmp_path / "cache", monkeypatch)
    put_into_cache(cache, "jane/words", write_captioner(tmp_path / "words"))
    recipe = tiny_recipe()
    labels = recipe.data.label_space()
    torch.manual_seed(0)
    state = cpu_state(build_model(recipe, labels))
    facts = {"split": "val", "weights": "ema", "epoch": 2, "metrics": {"mAP": 0.5, "threshold": 0.25}}
    save_model(tmp_path / "shapes", state, recipe, labels, thresholds=(0.5, 0.5, 0.5), facts=facts)
    put_into_cache(cache, "jane/shapes", tmp_path / "shapes")
    return cache


def test_models_of_an_ensemble_may_be_on_the_hub(cache: Path, tmp_path: Path):
    photos = write_photos(tmp_path / "photos", 2)
    there = run("caption", tmp_path / "words", photos, "--ensemble", tmp_path / "words", "--json")
    named = run("caption", "hf://jane/words", photos, "--ensemble", "hf://jane/words@main", "--json")
    assert (named.exit_code, named.stdout) == (0, there.stdout), named.output


def test_every_command_that_takes_a_model_takes_one_on_the_hub(cache: Path, work_folder: Path):
    photos = write_photos(Path("photos"), 2)
    for words in (
        ("eval", "hf://jane/shapes", "--images", photos, "--out", "predictions.jsonl"),
        ("eval", "hf://jane/shapes", "--split", "val"),
        ("export", "hf://jane/shapes", "--to", "torch", "--out", "shapes.pt2"),
        ("visualize", "labels", "hf://jane/shapes", "--out", "figures"),
        ("visualize", "levels", "hf://jane/shapes", "--images", photos, "--out", "figures"),
        ("convert", "hf://jane/shapes", "--to", "upstream", "--out", "shapes.pth"),
    ):
        done = run(*words)
        assert done.exit_code == 0, (words, done.output)
    assert Path("shapes.pth").is_file()
    assert len(Path("predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_training_starts_from_a_model_on_the_hub(cache: Path, work_folder: Path):
    done = hlcli.train(
        tiny_recipe("train.init_weights=hf://jane/shapes", "train.epochs=1", "optim.lr=1e-12", "train.ema_decay=null"),
        "run",
    )
    start, now = (load_file(folder / "model.safetensors") for folder in (cache.parent / "shapes", done.model_folder))
    weights = [name for name in start if "running" not in name and "num_batches" not in name]
    assert max(float((start[name] - now[name]).abs().max()) for name in weights) < 1e-6
    assert hlcli.Recipe.from_yaml("run/recipe.yaml").train.init_weights == "hf://jane/shapes"


def test_a_captioner_that_starts_from_one_on_the_hub_keeps_its_words(cache: Path, work_folder: Path):
    settings = ("train.init_weights=hf://jane/words", "train.epochs=1", "data.min_word_count=1", "eval.max_words=3")
    done = hlcli.train(captioner_recipe(*settings), "run")
    tokens = [json.loads((folder / "model.json").read_text(encoding="utf-8"))["vocabulary"]["tokens"]
              for folder in (cache.parent / "words", done.model_folder)]  # fmt: skip
    assert tokens[0] == tokens[1]


def test_facts_and_files_of_a_model_on_the_hub(cache: Path, tmp_path: Path):
    assert model_facts("hf://jane/shapes")["metrics"]["mAP"] == 0.5
    copy_model("hf://jane/shapes", tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["model.json", "model.safetensors"]


def test_only_who_is_not_known_to_the_hub_is_told_to_log_in(cache: Path, tmp_path: Path, monkeypatch):
    from huggingface_hub import constants

    def hint_of(error: str) -> str | None:
        with pytest.raises(HlcliError, match=error) as caught:
            hlcli.push(tmp_path / "shapes", "jane/shapes")
        return caught.value.hint

    assert "Check the network" in (hint_of("offline mode is enabled") or "")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "Check the network" in (hint_of("refused") or "")
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        assert "hf auth login" in (hint_of("cannot be pushed") or "")
        for token, hint in (("", "hf auth login"), ("hf_wrong", "Check OWNER/NAME")):
            monkeypatch.setenv("HF_TOKEN", token)
            with pytest.raises(HlcliError, match="is not on the hub") as caught:
                hlcli.open_model("hf://jane/none")
            assert hint in (caught.value.hint or "")


def own_recipe(home: str) -> Recipe:
    """A recipe with a path in every place that has one."""
    tree = {
        "data": {
            "dataset": "folder", "root": f"{home}/data", "store": f"{home}/store", "images": f"{home}/photos",
            "labels": f"{home}/labels.csv", "hierarchy": f"{home}/tree.yaml", "labels_list": f"{home}/list.txt",
        },
        "backbone": {"name": "resnet18", "weights": f"{home}/resnet18.pth"},
        "model": {"method": "sgre", "label_embeddings": f"{home}/vectors.safetensors"},
        "train": {"init_weights": f"{home}/runs/first"},
    }  # fmt: skip
    return Recipe.from_dict(tree)


@pytest.mark.parametrize("home", ["/home/jane/secret", "../secret", "~/secret", "C:\\Users\\secret", "secret"])
def test_a_recipe_for_others_has_names_in_the_place_of_paths(home: str):
    recipe = own_recipe(home)
    public = without_places(recipe)
    assert "secret" not in public.to_yaml()
    data = public.data
    assert isinstance(data, type(recipe.data))
    found = (data.root, data.store, data.images, data.labels, data.hierarchy, data.labels_list)  # type: ignore[attr-defined]
    assert [None if one is None else str(one) for one in found] == [
        None, "store", "photos", "labels.csv", "tree.yaml", "list.txt",
    ]  # fmt: skip
    assert public.train.init_weights == "first"
    assert without_places(public) == public


def test_the_address_of_a_store_is_not_published():
    public = without_places(tiny_recipe("data.store=s3://jane-secret/sets/store"))
    assert str(public.data.store) == "store"
    assert without_places(public) == public


def test_a_recipe_without_paths_stays_as_it_is():
    for recipe in (tiny_recipe(), captioner_recipe("train.init_weights=hf://jane/words@v1")):
        assert without_places(recipe) == recipe
    assert without_places(Recipe.from_yaml("hspnet/coco")) == Recipe.from_yaml("hspnet/coco")


def test_what_is_pushed_has_no_path_of_the_author_and_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    recipe = tiny_recipe(f"data.root={tmp_path}", f"data.store={tmp_path}/store", f"train.init_weights={tmp_path}/a")
    labels = recipe.data.label_space()
    model = build_model(recipe, labels)
    save_model(tmp_path / "model", cpu_state(model), recipe, labels, thresholds=None, facts={})
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        hlcli.push(tmp_path / "model", "jane/shapes")
    files = hub.files["jane/shapes"]
    assert str(tmp_path) not in (files["model.json"] + files["README.md"]).decode()
    (tmp_path / "fetched").mkdir()
    for name, content in files.items():
        (tmp_path / "fetched" / name).write_bytes(content)
    opened = hlcli.open_model(tmp_path / "fetched")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in opened.model.state_dict().items())
    assert str(tmp_path) in (tmp_path / "model" / "model.json").read_text(encoding="utf-8")  # the author's own stays


def card_of(recipe: Recipe, **facts: object) -> str:
    description = {
        "hlcli": "9", "facts": facts, "thresholds": None, "image_size": [224, 224],
        "labels": LabelSpace.flat(["cat", "dog"]).to_json(), "recipe": recipe.model_dump(mode="json"),
    }  # fmt: skip
    return write_card(description, HubName("jane/birds").repository)


def test_a_card_names_published_data_and_no_other():
    own, coco = card_of(without_places(own_recipe("/home/jane"))), card_of(Recipe.from_yaml("salgl/coco"))
    assert "datasets:" not in own.partition("# birds")[0]
    assert "Trained on images of its author" in own
    assert "/home" not in own
    assert "datasets:\n- coco\n" in coco
    assert "Trained on `coco`" in coco
    assert "Converted from `best.pth`, a checkpoint for `coco`" in card_of(
        Recipe.from_yaml("salgl/coco"), source="best.pth"
    )


def test_a_card_measures_no_threshold():
    card = card_of(tiny_recipe(), split="val", weights="ema", epoch=2, metrics={"mAP": 0.5, "coarse/threshold": 0.2})
    assert re.findall(r"^\| (\S+) \| [\d.]+ \|$", card, flags=re.MULTILINE) == ["mAP"]
