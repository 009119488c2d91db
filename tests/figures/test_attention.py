"""`visualize attention`: the labels that were asked for, one page per image, overlays as SGRE's program writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_states import cpu_state
from PIL import Image

import hlcli
from hlcli.building import build_model
from hlcli.data.datasets.shapes_scene import TREE
from hlcli.data.labels import LabelSpace
from hlcli.errors import InputError
from hlcli.figures.attention import Wanted, choose, find_wanted
from hlcli.figures.files import file_stems, number_repeated
from hlcli.figures.images import Item, Look, look_at
from hlcli.models.folder import read_model, save_model
from hlcli.recipe import Recipe
from hlcli.visualization import heat
from hlcli.visualization.attention import overlay
from hlcli.visualization.attention_page import attention_figure
from hlcli.visualization.panels import LabelMap

LABELS = LabelSpace.from_tree(TREE)
EVEN_NOTE = "(even): differences too small to stretch"
FINE = range(2, 3)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """An SGRE model as it begins, which has maps on the finest level only."""
    from tiny import TINY

    sizes = {"attention_dim": 16, "feedforward_dim": 16, "num_heads": 2, "label_embedding_dim": 8}
    recipe = Recipe.from_dict({**TINY, "model": {"method": "sgre", **sizes}}, ["data.image_size=64"])
    folder = tmp_path_factory.mktemp("sgre") / "model"
    labels = recipe.data.label_space()
    network = build_model(recipe, labels)
    save_model(folder, cpu_state(network), recipe, labels, thresholds=(0.5, 0.5, 0.5), facts={})
    return folder


def look(*scores: float) -> Look:
    """Twelve fine scores, and three and five above."""
    fine = np.zeros(12, np.float32)
    fine[: len(scores)] = scores
    return Look((np.zeros(3, np.float32), np.zeros(5, np.float32), fine), (np.zeros((12, 2, 2)),))


def chosen(words: list[str], scores: list[float], truth: tuple[int, ...] | None = None) -> list[int]:
    wanted = find_wanted(LABELS, FINE, words, None)
    places = choose(Item("a", b"", truth), look(*scores), LABELS, wanted, (0.5, 0.5, 0.5))
    assert all(depth == 2 for depth, _ in places)
    return [label for _, label in places]


def test_true_labels_are_shown_where_somebody_knows_them_best_first():
    assert chosen([], [0.9, 0.2, 0.6], truth=(1, 2)) == [2, 1]
    assert chosen([], [0.9, 0.2, 0.6], truth=()) == [0, 2]
    assert chosen(["true"], [0.9], truth=()) == []


def test_predicted_labels_are_those_above_the_threshold_or_the_best_one():
    assert chosen([], [0.6, 0.5, 0.9]) == [2, 0]
    assert chosen(["predicted"], [0.1, 0.4, 0.2], truth=(0,)) == [1]


def test_named_labels_come_first_and_no_label_twice():
    assert chosen(["house", "flower"], [0.9]) == [LABELS.label_names.index(name) for name in ("house", "flower")]
    assert chosen(["fir", "true", "predicted"], [0.9, 0.1, 0.2], truth=(1, 2)) == [1, 0, 2]


def test_a_name_is_looked_for_on_the_finest_level_first():
    assert find_wanted(LABELS, range(3), ["nature", "craft", "fish"], None) == Wanted(
        2, False, False, ((0, 0), (1, 4), (2, 3))
    )
    assert find_wanted(LABELS, range(3), ["predicted"], "middle") == Wanted(1, False, True, ())


def test_true_labels_of_a_level_above_are_the_parents():
    wanted = find_wanted(LABELS, range(3), ["true"], "coarse")
    every = Look(tuple(np.linspace(0, 1, size, dtype=np.float32) for size in LABELS.level_sizes), ())
    assert choose(Item("a", b"", (0, 3, 11)), every, LABELS, wanted, (0.5,) * 3) == ((0, 2), (0, 0))


@pytest.mark.parametrize(
    ("words", "level", "message", "hint"),
    [
        (["hose"], None, "no label 'hose' on level fine", "Did you mean 'house'?"),
        (["tru"], None, "no label 'tru'", "Did you mean 'true'?"),
        (
            ["nature"],
            None,
            "'nature' is on level coarse; there are maps of level fine.",
            "Try --labels tree --labels fir --labels",
        ),
        (["zzz"], None, "no label 'zzz' on level fine", "shows all labels"),
        ([], "coarse", "no maps on level 'coarse'", "Choose from: fine."),
    ],
)
def test_labels_and_levels_without_maps_are_named(words, level, message, hint):
    with pytest.raises(InputError, match=message) as caught:
        find_wanted(LABELS, FINE, words, level)
    assert hint in (caught.value.hint or "")


def test_equal_names_in_different_folders_get_different_files():
    names = ["a/x.jpg", "a/y.jpg", "b/x.jpg", "b/x.PNG", "c/b/x.jpg", "shapes-1.5", "X.jpg"]
    stems = file_stems(names)
    assert len({stem.lower() for stem in stems}) == len(names)
    assert stems[:2] == ["a_x", "y"]
    assert stems[4:6] == ["c_b_x", "shapes-1.5"]
    assert file_stems([]) == []
    assert number_repeated(["a/b", "a:b", "A_b", "..", "\ud8ff"]) == ["a_b", "a_b-2", "A_b-3", "_", "_-2"]
    assert len(file_stems(["x" * 500 + ".jpg"])[0]) <= 100


def test_a_page_has_a_photo_and_a_panel_per_label():
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    hot = np.array([[0.7, 0.1], [0.1, 0.1]])
    maps = [LabelMap(f"label {i}", 0.25, hot, i == 0) for i in range(5)] + [
        LabelMap("flat", 0.5, np.full((2, 2), 0.25))
    ]
    figure = attention_figure("a.jpg", image, maps, ["label 0"])
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:-1] == ["a.jpg\ntrue: label 0", "label 0\n0.25 ✓", *(f"label {i}\n0.25" for i in range(1, 5)),
                           "flat\n0.50 (even)"]  # fmt: skip
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), heat.overlay(image, hot))
    boxes = [axes.get_window_extent() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert not [other for other in boxes[i + 1 :] if box.overlaps(other)]
    assert EVEN_NOTE in [text.get_text() for text in figure.texts]
    plain = attention_figure("a.jpg", image, [])
    assert len(plain.axes) == 2
    assert EVEN_NOTE not in [text.get_text() for text in plain.texts]


def test_a_split_gives_a_page_per_image(model: Path, tmp_path: Path):
    drawn = hlcli.visualize("attention", model, split="test", max_images=3, out=tmp_path)
    names = ["shapes-test-000000", "shapes-test-000004", "shapes-test-000009"]
    assert drawn.files == [tmp_path / "attention" / f"{name}.png" for name in names]
    assert all(path.stat().st_size > 5000 for path in drawn.files)


def test_raw_overlays_are_those_of_the_network(model: Path, tmp_path: Path):
    photo = tmp_path / "photo.png"
    pixels = np.indices((64, 64)).sum(axis=0)[..., None].repeat(3, axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(photo)
    (tmp_path / "broken.jpg").write_bytes(b"no")
    drawn = hlcli.visualize(
        "attention",
        model,
        images=[tmp_path],
        labels=["tree", "fish"],
        raw=True,
        out=tmp_path / "out",
        file_format="svg",
    )
    folder = tmp_path / "out" / "attention"
    raw = [folder / "photo" / name for name in ("raw_image.jpg", "_tree.jpg", "_fish.jpg")]
    assert drawn.files == [folder / "photo.svg", *raw]
    assert [failure.image for failure in drawn.failures] == [str(tmp_path / "broken.jpg")]
    assert (tmp_path / "out" / "attention.failures.jsonl").is_file()
    predictor = hlcli.load(model)
    (seen,) = look_at(predictor, read_model(model).recipe.model, [Image.fromarray(pixels)])
    with Image.open(folder / "photo" / "_tree.jpg") as written:
        difference = np.asarray(written).astype(int) - overlay(pixels, seen.map_of(2, 0))
    assert np.abs(difference).mean() < 2  # after JPEG


def test_true_labels_of_images_are_not_known(model: Path, tmp_path: Path):
    with pytest.raises(InputError, match="nobody knows the true labels") as caught:
        hlcli.visualize("attention", model, images=[tmp_path], labels=["true"], out=tmp_path)
    assert caught.value.hint == "Give a --split, or `--labels predicted`."


def test_levels_without_maps_are_left_out(model: Path, tmp_path: Path):
    drawn = hlcli.visualize("levels", model, max_images=2, out=tmp_path, file_format="svg")
    svg = drawn.files[0].read_text()
    assert "<!-- fine -->" in svg
    assert "<!-- coarse -->" not in svg
