"""Files of strangers at every door: one message each, no code is run, nothing large is made of a small file."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hostile_files import bad_features, bad_safetensors, pickles
from model_states import cpu_state
from peak_memory import memory_below
from tiny import tiny_recipe

import hlcli
from hlcli.building import build_model
from hlcli.captioning.vocabulary import read_published_vocabulary
from hlcli.data.datasets.intentonomy_annotations import read_label_matrix
from hlcli.data.datasets.nuswide_annotations import read_matrices
from hlcli.embeddings.encoders.word_vectors import glove_encoder
from hlcli.embeddings.graphs import read_label_graph
from hlcli.embeddings.labels import read_label_embeddings
from hlcli.encoders.backbone_weights import read_backbone_weights
from hlcli.encoders.clip_weights import load_clip_weights
from hlcli.errors import DataError, HlcliError
from hlcli.features.reading import FeatureFile
from hlcli.models.folder import save_model
from hlcli.recipe import Recipe
from hlcli.training.checkpoints import _newest_whole

RECIPE = tiny_recipe()
LABELS = RECIPE.data.label_space()
MOST_MEGABYTES = 300

Door = Callable[[Path], object]


def resume(path: Path) -> object:
    return _newest_whole(path, path.with_name("former.pt"))


def train_from(path: Path) -> object:
    recipe = tiny_recipe(f"train.init_weights={path}", "train.epochs=1")
    return hlcli.train(recipe, path.parent / "run", overwrite=True)


PICKLE_DOORS: Mapping[tuple[str, str], Door] = {
    ("MODEL", ".pth"): lambda path: hlcli.open_model(path, RECIPE),
    ("convert", ".pth.tar"): lambda path: hlcli.convert(path, RECIPE, out=path.parent / "out"),
    ("convert", ".safetensors"): lambda path: hlcli.convert(path, RECIPE, out=path.parent / "out"),
    ("backbone.weights", ".pt"): lambda path: read_backbone_weights(path, "resnet18"),
    ("CLIP weights", ".pt"): lambda path: load_clip_weights(None, path),
    ("resume", ".pt"): resume,
    ("label embeddings", ".npy"): lambda path: read_label_embeddings(path, LABELS),
    ("label embeddings", ".safetensors"): lambda path: read_label_embeddings(path, LABELS),
    ("label graph", ".npy"): lambda path: read_label_graph(path, LABELS),
    ("label matrix", ".npy"): lambda path: read_label_matrix(path, 1),
    ("matrices", ".npy"): lambda path: read_matrices(path, path),
    ("GloVe", ".txt"): lambda path: glove_encoder(path, ["cat"], average=False),
    ("vocabulary", ".pkl"): read_published_vocabulary,
    ("features", ".h5"): FeatureFile,
}


def message_of(door: Door, path: Path) -> str:
    """What is said of a file: it is refused, in words that are not endless, with its name."""
    with warnings.catch_warnings(), memory_below(MOST_MEGABYTES):
        warnings.simplefilter("ignore")  # torch's, of archives that it takes for TorchScript
        with pytest.raises(HlcliError) as caught:
            door(path)
    told = str(caught.value)
    assert path.name in told
    assert len(told) < 1500
    assert "Re-running" not in told, "torch tells how to run the code all the same"
    return told


@pytest.mark.parametrize("place", PICKLE_DOORS, ids=" ".join)
def test_programs_in_the_clothes_of_data_are_refused_and_not_run(tmp_path: Path, place: tuple[str, str]):
    mark = tmp_path / "was-run"
    for name, content in pickles(mark).items():
        path = tmp_path / f"{name.replace(' ', '-')}{place[1]}"
        path.write_bytes(content)
        message_of(PICKLE_DOORS[place], path)
        assert not mark.exists(), name
    assert not (tmp_path / "out").exists()


def test_training_does_not_start_from_a_program(tmp_path: Path):
    mark = tmp_path / "was-run"
    (tmp_path / "weights.pth").write_bytes(pickles(mark)["torch zip"])
    assert "asks to run code, which is refused (it names posix.mkdir)" in message_of(
        train_from, tmp_path / "weights.pth"
    )
    assert not mark.exists()


@pytest.mark.parametrize("door", ["convert", "label embeddings", "model folder"])
def test_headers_that_lie_are_refused(tmp_path: Path, door: str):
    if door == "model folder":
        state = cpu_state(build_model(RECIPE, LABELS))
        save_model(tmp_path / "model", state, RECIPE, LABELS, thresholds=None, facts={})
    for name, content in bad_safetensors().items():
        path = tmp_path / f"{name.replace(' ', '-')}.safetensors"
        path.write_bytes(content)
        if door == "model folder":
            shutil.move(path, tmp_path / "model" / "model.safetensors")
            message_of(hlcli.open_model, tmp_path / "model")
        else:
            message_of(PICKLE_DOORS[door, ".safetensors"], path)


REFUSED_FEATURES = {
    "external bytes": "in another file",
    "virtual": "in another file",
    "bomb": "too many for an image",
    "small bomb": "too many for an image",
    "objects": "no real numbers",
    "text": "no real numbers",
    "complex": "no real numbers",
    "compound": "no real numbers",
    "not a number": "NaN or infinity",
    "too large": "NaN or infinity",
    "facts that are a bomb": "no JSON",
}


@pytest.mark.parametrize("kind", ["grid", "region"])
def test_feature_files_that_reach_out_or_blow_up_are_refused(tmp_path: Path, kind: str):
    secret = tmp_path / "passwd"
    secret.write_text("root:x:0:0:secret\n" * 40)
    files = bad_features(tmp_path / "made", secret)
    if kind == "region":
        del files["no row"]  # an image may have no region
    for name, path in files.items():
        told = message_of(lambda path: FeatureFile(path, kind).read("1"), path)
        assert REFUSED_FEATURES.get(name, "") in told, name
        assert "secret" not in told


def test_a_link_to_another_feature_file_is_not_followed(tmp_path: Path):
    import h5py

    files = bad_features(tmp_path / "made", Path(__file__))
    with h5py.File(files["external link"], "a") as file:
        file["2_features"] = [[1.0, 2.0]]
    with pytest.raises(DataError, match="1_features is a link to another file, which is not followed"):
        FeatureFile(files["external link"], "grid").read("1")


def test_a_bomb_is_not_read_beyond_the_rows_that_are_asked_for(tmp_path: Path):
    import h5py
    import numpy as np

    with h5py.File(tmp_path / "many.h5", "w") as file:
        file.create_dataset("1_features", (1 << 24, 8), np.float32, chunks=(64, 8), compression="gzip")
    with memory_below(MOST_MEGABYTES):
        assert FeatureFile(tmp_path / "many.h5", "region").read("1", max_rows=5).shape == (5, 8)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells")
def test_memory_that_was_taken_before_hides_no_bomb():
    def bomb() -> None:
        assert bytearray(b"x") * ((MOST_MEGABYTES + 100) << 20)

    bomb()
    with pytest.raises(AssertionError, match="MB more at the peak"), memory_below(MOST_MEGABYTES):
        bomb()


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "data: !!python/object/apply:os.mkdir ['was-run']\n",
        "data: " + "[" * 100_000,
        "data: " + "{a: " * 100_000,
        "data: {dataset: " + "x" * 300_000 + "}",
        "data: 1e999999999\n",
        f"data: {'9' * 100_000}\n",
    ],
)
def test_yaml_bombs_are_refused(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(text)
    message_of(Recipe.from_yaml, tmp_path / "recipe.yaml")
    assert not (tmp_path / "was-run").exists()
