"""Figures of captions: a page per image, a panel per word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from tiny_captioner import captioner_recipe, write_captioner

import hlcli
from hlcli.errors import InputError, RecipeError
from hlcli.features.embedding import embed_images
from hlcli.features.extractors import FeatureOptions
from hlcli.features.windows import window_boxes
from hlcli.figures.captions import Look, View, find_view
from hlcli.models.folder import read_model
from hlcli.tasks.captions import feature_facts
from hlcli.visualization.captions import WordMap, caption_figure, outline
from hlcli.visualization.style import TITLE_POINTS, new_figure, text_width, wrap

WHOLE = View((1, 3), None, None)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_captioner(tmp_path_factory.mktemp("models") / "m")


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.texts] + [axes.get_title() for axes in figure.axes]


def test_a_page_per_image_and_the_rest_listed(model: Path, tmp_path: Path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (50, 40), "red").save(folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    drawn = hlcli.visualize("captions", model, images=[folder], out=tmp_path / "out")
    assert drawn.files == [tmp_path / "out/captions/a.png"]
    with Image.open(drawn.files[0]) as image:
        assert min(image.size) > 200
    assert [Path(failure.image).name for failure in drawn.failures] == ["b.png"]
    assert (tmp_path / "out/captions.failures.jsonl").is_file()


def test_images_of_a_split_come_with_a_true_caption(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shown = []

    def draw(name, image, caption, words, reference):
        shown.append((name, caption, [word.word for word in words], reference))
        return caption_figure(name, image, caption, words, reference)

    monkeypatch.setattr("hlcli.figures.captions.caption_figure", draw)
    drawn = hlcli.visualize("captions", model, split="val", max_images=2, out=tmp_path, file_format="svg")
    assert [path.name for path in drawn.files] == ["shapes-val-000000.svg", "shapes-val-000004.svg"]
    records = captioner_recipe().data.records("val")
    for (_, caption, words, reference), row in zip(shown, (0, 4), strict=True):
        assert caption == " ".join(words)
        assert reference == records[row].captions[0]


@pytest.mark.parametrize("change", ["data.image_size=16", "data.normalization=half"])
def test_a_recipe_with_other_images_than_the_model_saw_is_refused(model: Path, tmp_path: Path, change: str):
    recipe = captioner_recipe(change)
    with pytest.raises(RecipeError, match=f"{change.partition('=')[0]} is .*, but the model was trained with"):
        hlcli.visualize("captions", model, recipe=recipe, max_images=1, out=tmp_path)


def test_what_is_looked_at_sums_to_one(model: Path):
    from hlcli.figures.captions import look_at
    from hlcli.figures.images import Item
    from hlcli.prediction.captions import CaptionPredictor

    predictor = CaptionPredictor(read_model(model))
    image = Image.new("RGB", (64, 64), "blue")
    (look,) = look_at(predictor, [(Item("x", b""), image)], [])
    assert look is not None
    assert look.caption == predictor.caption([image])[0].caption
    assert look.grid.shape == (len(look.words), 16)
    assert look.regions.shape == (len(look.words), 5)
    for weights in (look.grid, look.regions):
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)


def test_words_said_twice_have_one_panel_and_a_class_token_none():
    look = Look("a dog", ["a", "a", "dog"], np.arange(12.0).reshape(3, 4), np.ones((3, 1)))
    words = WHOLE.words(look)
    assert [word.word for word in words] == ["a", "dog"]
    assert words[1].attention_map.tolist() == [[9, 10, 11]]
    assert words[0].box is None


def test_the_region_that_weighs_most_is_shown():
    boxes = np.array([[0, 0, 1, 1], [0.5, 0, 1, 0.5]], dtype=np.float32)
    look = Look("a", ["a"], np.ones((1, 4)), np.array([[0.1, 0.7, 0.9]]))  # the third one is padding
    word = View(None, boxes, None).words(look)[0]
    assert (word.box, word.even_regions) == ((0.5, 0, 1, 0.5), False)


def test_regions_that_weigh_alike_have_no_box_and_that_is_said():
    boxes = np.array([[0, 0, 1, 1], [0.5, 0, 1, 0.5]], dtype=np.float32)
    look = Look("a b", ["a", "b"], np.ones((2, 4)), np.array([[0.4, 0.6], [0.1, 0.9]]))
    words = View(None, boxes, None).words(look)
    assert [(word.box is None, word.even_regions) for word in words] == [(True, True), (False, False)]
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    (note,) = (text for text in texts(caption_figure("x", image, "a b", words)) if "box" in text)
    assert "box: the region that weighs most; no box: the regions weigh alike" in note
    assert not [text for text in texts(caption_figure("x", image, "a", [WordMap("a", np.eye(2))])) if "box" in text]


def test_a_grid_that_nobody_describes_must_be_a_square():
    with pytest.raises(InputError, match="5 grid cells"):
        View(None, None, None).words(Look("a", ["a"], np.ones((1, 5)), np.ones((1, 1))))


def test_only_the_seen_part_of_a_photo_is_shown():
    image = Image.new("RGB", (80, 40))
    image.paste((255, 0, 0), (20, 0, 60, 40))
    seen = View(None, None, (10, 10)).seen_part(image)
    assert seen.size == (40, 40)
    assert (np.asarray(seen) == (255, 0, 0)).all()
    assert View(None, None, None).seen_part(image) is image


def test_stored_features_tell_how_they_lie(tmp_path: Path):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 48), "green").save(photos / "a.png")
    files = []
    for kind in ("grid", "region"):
        options = FeatureOptions(
            kind=kind, backbone="test_resnet.r160_in1k", pretrained=False, image_size=(96, 64), resize="crop"
        )  # fmt: skip
        embed_images(photos, options, out=tmp_path / f"{kind}.hdf5", workers=0)
        files.append(f"data.{kind}_features={tmp_path / f'{kind}.hdf5'}")
    facts = feature_facts(captioner_recipe(*files).data)
    model = write_captioner(tmp_path / "m", *files, features=facts)
    view = find_view(read_model(model))
    assert view.grid == (3, 2)
    assert view.cut_to == (96, 64)
    np.testing.assert_array_equal(view.boxes, window_boxes().numpy())
    assert len(hlcli.visualize("captions", model, images=[photos], out=tmp_path).files) == 1


def test_a_long_caption_is_wrapped_and_names_are_no_formulas():
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    words = [WordMap(f"word{number}", np.eye(2)) for number in range(12)]
    caption = " ".join(word.word for word in words) * 4
    figure = caption_figure("$x^2$.png", image, caption, words, "a $true$ one")
    said = texts(figure)
    assert [word.word for word in words] == [text for text in said if text.startswith("word") and " " not in text]
    assert "true: a $true$ one" in said
    assert "$x^2$.png" in said
    for line in wrap(caption, 3.0):
        assert text_width(line, TITLE_POINTS) <= 3.0
    assert " ".join(wrap(caption, 3.0)) == caption
    assert wrap("", 3.0) == []
    assert "no word" in texts(caption_figure("a", image, "", []))


@pytest.mark.parametrize("brightness", [0, 255])
@pytest.mark.parametrize("side", [60, 1500])
def test_a_box_is_seen_on_dark_and_bright_photos_of_any_size(brightness: int, side: int):
    figure = new_figure(2, 2)
    axes = figure.add_axes((0, 0, 1, 1))
    image = np.full((side, side, 3), brightness, dtype=np.uint8)
    axes.imshow(image)
    axes.set_axis_off()
    outline(axes, image, (0.25, 0.5, 1.5, 0.75))  # what lies beyond the photo is cut off
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    seen = np.asarray(canvas.buffer_rgba())[..., 0]
    height, width = seen.shape
    across = seen[:, width // 2]  # over the upper and the lower edge of the box
    for edge in (0.5, 0.75):
        nearby = across[round((edge - 0.03) * height) : round((edge + 0.03) * height)]
        assert nearby.min() < 40
        assert nearby.max() > 215
    assert (across[round(0.55 * height) : round(0.7 * height)] == brightness).all()
    assert (seen[: round(0.45 * height)] == brightness).all()
