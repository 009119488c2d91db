"""`visualize scenes`: what the counts of a model say, and which scene an image was given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from noise_photos import write_photos
from PIL import Image

import hlcli
from hlcli.building import build_model
from hlcli.data.datasets.shapes_scene import PLACES
from hlcli.data.labels import LabelSpace
from hlcli.errors import InputError
from hlcli.figures.scenes import draw_counts, draw_images, scene_names, scene_titles
from hlcli.models.folder import LoadedModel, read_model
from hlcli.prediction.label_rows import make_scene

GROUPS = ("nature", "architecture", "transport")


def planted(labels: LabelSpace, *, empty: int = 1) -> np.ndarray:
    """Counts [S, L, L] of a hundred images of three places, as if things came there by themselves; then empty ones."""
    counts = np.zeros((3 + empty, labels.num_labels, labels.num_labels))
    for scene, place in enumerate(("harbour", "town", "lake")):
        chances = np.array([PLACES[place].get(name, 0.0) for name in labels.label_names])
        counts[scene] = 100 * np.outer(chances, chances)
        np.fill_diagonal(counts[scene], 100 * chances)
    return counts


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    """A SALGL model as it begins, with planted counts."""
    from tiny import TINY

    from hlcli.recipe import Recipe

    sizes = {"attention_dim": 16, "feedforward_dim": 16, "num_heads": 2, "label_embedding_dim": 8}
    recipe = Recipe.from_dict({**TINY, "model": {"method": "salgl", "num_scenes": 4, **sizes}})
    labels = recipe.data.label_space()
    model = build_model(recipe, labels).eval()
    counts = recipe.model.cooccurrence(model)
    with torch.no_grad():
        counts.copy_(torch.from_numpy(planted(labels)))
    return LoadedModel(model, recipe, labels, (0.5, 0.5, 0.5), {})


@pytest.fixture(scope="module")
def model(loaded: LoadedModel, tmp_path_factory) -> Path:
    """The same in a folder."""
    from model_states import cpu_state

    from hlcli.models.folder import save_model

    folder = tmp_path_factory.mktemp("salgl") / "model"
    save_model(folder, cpu_state(loaded.model), loaded.recipe, loaded.labels, thresholds=loaded.thresholds, facts={})
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two photos and a broken one."""
    folder = write_photos(tmp_path / "photos", 2)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    return folder


def test_every_scene_has_its_cloud_and_its_heat_maps(model: Path, tmp_path: Path):
    (tmp_path / "scene-7-words.svg").write_text("of a model with more scenes")
    (tmp_path / "scenery.svg").write_text("not ours")
    drawn = hlcli.visualize("scenes", model, out=tmp_path, file_format="svg")
    names = [f"scene-{scene}-{part}.svg" for scene in range(3) for part in ("words", *GROUPS)]
    assert [path.name for path in drawn.files] == ["scenes.svg", *names]  # scene 3 was never seen
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["scenes.svg", "scenery.svg", *names])
    assert 'id="sailboat"' in (tmp_path / "scene-0-words.svg").read_text()
    assert "No training image was counted" in (tmp_path / "scenes.svg").read_text()


def test_chosen_labels_make_one_heat_map_per_scene(loaded: LoadedModel, tmp_path: Path):
    counts = planted(loaded.labels, empty=0)
    drawn = draw_counts(counts, loaded.labels, tmp_path, "svg", ["animals", "bus"])
    assert [path.name for path in drawn.files if "words" not in path.name] == [
        "scenes.svg", *(f"scene-{scene}-chosen.svg" for scene in range(3))
    ]  # fmt: skip
    svg = (tmp_path / "scene-1-chosen.svg").read_text()
    assert [name for name in loaded.labels.label_names if f"<!-- {name} -->" in svg] == ["fish", "bird", "bus"]
    with pytest.raises(InputError, match="at least two labels"):
        draw_counts(counts, loaded.labels, tmp_path, "svg", ["bus"])


def test_a_model_that_has_counted_nothing_has_one_page(tmp_path: Path):
    drawn = draw_counts(np.zeros((2, 3, 3)), LabelSpace.flat(["a", "b", "c"]), tmp_path, "svg")
    assert [path.name for path in drawn.files] == ["scenes.svg"]


def test_titles_are_shares_of_all_labels_seen():
    assert scene_titles(np.array([[3.0, 0], [0, 1], [0, 0]])) == [
        f"scene {scene}: {share}% of the labels seen in training" for scene, share in ((0, 75), (1, 25), (2, 0))
    ]


def test_scenes_are_named_by_the_largest_shares_and_every_seen_one_has_a_name():
    counts = np.zeros((3, 4, 4))
    for scene, row in enumerate([[90, 80, 9, 0], [10, 20, 1, 0], [0, 0, 0, 0]]):  # scene 0 has seen all labels most
        np.fill_diagonal(counts[scene], row)
    assert scene_names(counts, LabelSpace.flat(list("abcd"))) == ["0: a, c, b", "1: b, a, c", "2"]


def test_images_get_the_scene_of_their_prediction(loaded: LoadedModel, photos: Path, tmp_path: Path):
    from hlcli.figures.images import named_images
    from hlcli.prediction.labels import Predictor

    out = tmp_path / "out"
    drawn = draw_images(loaded, named_images([photos]), list("abcd"), out, "svg")
    assert [path.name for path in drawn.files] == ["scenes-of-images.svg"]
    assert [Path(failure.image).name for failure in drawn.failures] == ["broken.jpg"]
    svg = drawn.files[0].read_text()
    assert "the labels with the largest share of their images in it" in svg
    for prediction in Predictor(loaded).predict([photos / "0.png", photos / "1.png"]):
        assert prediction.scene is not None
        assert f"<!-- {prediction.scene.score:.2f} -->" in svg
        assert prediction.scene.probs.sum() == pytest.approx(1, abs=1e-5)


def test_a_split_fills_pages(model: Path, tmp_path: Path):
    drawn = hlcli.visualize("scenes", model, split="val", max_images=14, out=tmp_path)
    assert [path.name for path in drawn.files] == ["scenes-of-images-1.png", "scenes-of-images-2.png"]
    with Image.open(drawn.files[1]) as page:
        assert page.size[0] > 3 * page.size[1]  # two strips


def test_labels_are_for_heat_maps(model: Path, photos: Path, tmp_path: Path):
    with pytest.raises(InputError, match="--labels chooses labels of heat maps"):
        hlcli.visualize("scenes", model, images=[photos], labels=["bus", "car"], out=tmp_path)


def test_methods_without_scenes_are_refused(tmp_path: Path, loaded: LoadedModel):
    from hlcli.figures.images import check_offers
    from hlcli.recipe import Recipe

    with pytest.raises(InputError, match="method hleg has no scenes") as caught:
        check_offers(Recipe.from_yaml("quickstart").model, "cooccurrence", "scenes")
    assert caught.value.hint == "Methods that have: salgl."
    check_offers(loaded.recipe.model, "cooccurrence", "scenes")


def test_of_equal_scenes_the_first_is_taken():
    assert make_scene(np.array([0.25, 0.375, 0.375])).index == 1


def test_the_folder_is_read_as_it_was_written(model: Path, loaded: LoadedModel):
    again = read_model(model)
    assert torch.equal(again.recipe.model.cooccurrence(again.model), loaded.recipe.model.cooccurrence(loaded.model))
