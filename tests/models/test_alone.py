"""A model folder is complete: it works elsewhere, when everything else that training used is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_states import cpu_state
from noise_photos import write_photos
from tiny import TINY
from tiny_captioner import write_captioner
from typer.testing import CliRunner

import hlcli
from hlcli.building import build_model, self_contained
from hlcli.cli.main import app
from hlcli.data.store import open_label_space
from hlcli.models.folder import save_model
from hlcli.recipe import Recipe

CLIP = {
    "embed_dim": 16, "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}  # fmt: skip
TREE = {"city": {"street": ["car", "bus"], "house": ["door"]}, "land": {"wood": ["fir", "oak"]}}
LABELS = ["car", "bus", "door", "fir", "oak"]


def write_data(place: Path) -> dict[str, Any]:
    """Photos, labels, a tree, vectors and a graph of the labels; the recipe's `data` section."""
    place.mkdir()
    write_photos(place / "photos", 6)
    photos = sorted(path.name for path in (place / "photos").iterdir())
    rows = [f"{name},{LABELS[row % 5]},{'train' if row < 4 else 'val'}" for row, name in enumerate(photos)]
    (place / "labels.csv").write_text("\n".join(["image,labels,split", *rows]))
    (place / "tree.yaml").write_text(json.dumps(TREE))  # JSON is YAML
    rng = np.random.default_rng(0)
    np.save(place / "vectors.npy", rng.normal(size=(5, 12)).astype(np.float32))
    (place / "clip.json").write_text(json.dumps(CLIP))
    return {
        "dataset": "folder", "images": str(place / "photos"), "labels": str(place / "labels.csv"),
        "hierarchy": str(place / "tree.yaml"), "image_size": 32, "workers": 0, "normalization": "half",
    }  # fmt: skip


def sections_of(method: str, place: Path) -> dict[str, Any]:
    """What a recipe of the method says beside its data; its files are in `place`."""
    if method == "hleg":
        return {"model": TINY["model"]}
    if method == "hspnet":
        names = 5 + 3
        np.save(place / "graph.npy", np.full((names, names), 0.5, np.float32) + 0.5 * np.eye(names, dtype=np.float32))
        graph = {"method": "hspnet", "graph": str(place / "graph.npy"), "gcn_hidden": 8}
        backbone = {"name": f"clip:{place / 'clip.json'}", "pretrained": False}
        return {"model": graph, "backbone": backbone, "objective": {"loss": "splc"}}
    vectors = {"label_embeddings": str(place / "vectors.npy"), "label_embedding_dim": 12}
    return {"model": {"method": method, "attention_dim": 16, "feedforward_dim": 32, **vectors}}


def write_model(method: str, place: Path) -> Path:
    """A model folder made as a run makes it, from files in `place`."""
    tree = {"data": write_data(place), "backbone": TINY["backbone"], **sections_of(method, place)}
    recipe = self_contained(Recipe.from_dict(tree))
    labels = open_label_space(recipe.data)
    torch.manual_seed(0)
    state = cpu_state(build_model(recipe, labels))
    save_model(place / "model", state, recipe, labels, thresholds=(0.2, 0.3, 0.4), facts={"epoch": 1})
    return place / "model"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Takes a model folder to another working folder, with one photo, and deletes all that was around it."""

    def move(model: Path) -> Path:
        away = tmp_path / "away"
        away.mkdir()
        shutil.move(model, away / "taken")
        shutil.rmtree(model.parent)
        monkeypatch.chdir(away)
        monkeypatch.delenv("HLCLI_DATA", raising=False)
        write_photos(away / "mine", 1)
        return Path("taken")

    return move


def run(*words: object) -> Any:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("method", ["hleg", "salgl", "sgre", "hspnet"])
def test_a_classifier_needs_nothing_but_its_folder(
    method: str, tmp_path: Path, elsewhere: Callable[[Path], Path]
) -> None:
    model = write_model(method, tmp_path / "work")
    photo = sorted((tmp_path / "work" / "photos").iterdir())[0]
    before = hlcli.load(str(model), top_k=5).predict([str(photo)])[0]
    shutil.copy(photo, tmp_path / "same.png")
    taken = elsewhere(model)
    predictor = hlcli.load(str(taken), top_k=5)
    after = predictor.predict([str(tmp_path / "same.png")])[0]
    assert after.labels == before.labels
    assert predictor.thresholds == (0.2, 0.3, 0.4)
    assert predictor.labels.label_names == tuple(LABELS)
    rows = json.loads(run("eval", taken, "--images", "mine", "--top-k", 1, "--json").stdout)["predictions"]
    assert {label["level"] for label in rows[0]["labels"]} == {"coarse", "middle", "fine"}
    kinds = {"hleg": ["levels"], "salgl": ["attention", "scenes"], "sgre": ["attention"], "hspnet": []}[method]
    for kind in kinds:
        images = ["--labels", "car"] if kind == "attention" else []
        run("visualize", kind, taken, "--images", "mine", "--out", "figures", *images)
    assert method == "hspnet" or list(Path("figures").rglob("*.png"))


def test_a_captioner_needs_nothing_but_its_folder(tmp_path: Path, elsewhere: Callable[[Path], Path]) -> None:
    taken = elsewhere(write_captioner(tmp_path / "work" / "model"))
    rows = json.loads(run("caption", taken, "mine", "--json").stdout)
    assert rows["captions"][0]["caption"]
    run("visualize", "captions", taken, "--images", "mine", "--out", "figures")
    assert list(Path("figures").rglob("*.png"))
